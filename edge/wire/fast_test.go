package wire

import (
	"encoding/json"
	"reflect"
	"testing"
	"unicode/utf8"
)

const sendFrame = `{"type":"send","ref":17,"room_id":3,"text":"Warp gate online, all ships to the second ring","nonce":"01J9Z3W6K8T5"}`

// Whatever parseFast accepts, encoding/json reads the same.
func FuzzParseFast(f *testing.F) {
	for _, s := range []string{
		sendFrame, `{"type":"ping"}`, `{"type":"join","room_id":1,"after":0,"epoch":"e"}`, ` { "type" : "read" , "upto" : 12 } `,
		`{"type":"send","text":"a\"b"}`, `{"ref":"x","ref":2}`, `{"Type":"send"}`, `{"after":null}`, `{"room_id":01}`, `{"room_id":1.0}`,
		`{"room_id":-1}`, `{"type":"send",}`, `{}`, `{"type":"send"} x`, `{"type":"é"}`, "{\"type\":\"\x7f\"}", `{"room_id":999999999999999999}`,
		`{"room_id":9223372036854775807}`, `{"limit":3}`, `[]`, ``, `{"retry":true}`, `{"ref":1e3}`, `{"ref":-0}`,
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		var fast, slow Request
		if !utf8.Valid(b) || !parseFast(b, &fast) {
			return
		}
		if err := json.Unmarshal(b, &slow); err != nil {
			t.Fatalf("%q is no JSON: %v", b, err)
		}
		if !reflect.DeepEqual(fast, slow) {
			t.Fatalf("%q\nfast %+v\nslow %+v", b, fast, slow)
		}
	})
}

func TestParseFast_TakesWhatClientsSend(t *testing.T) {
	t.Parallel()
	for _, s := range []string{
		sendFrame, `{"type":"ping"}`, `{"type":"join","room_id":17,"after":442,"epoch":"abc"}`, `{"type":"typing","room_id":1}`,
		`{"type":"read","room_id":1,"upto":9}`, `{"type":"react","room_id":1,"message_id":2,"emoji":"🚀","ref":"a"}`,
	} {
		var r Request
		if !parseFast([]byte(s), &r) {
			t.Errorf("left to the slow path: %s", s)
		}
	}
}

func BenchmarkParseSend(b *testing.B) {
	b.Run("fast", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := Parse([]byte(sendFrame)); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("json", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			var r Request
			if err := json.Unmarshal([]byte(sendFrame), &r); err != nil {
				b.Fatal(err)
			}
		}
	})
}
