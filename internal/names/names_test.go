package names

import (
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"vezeuniqverse.com/vezechat"
)

func TestRoom(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name, in, want string
		code           vezechat.Code
	}{
		{name: "plain", in: "lobby", want: "lobby"},
		{name: "inner and outer space", in: "  Warp \t gate ", want: "Warp gate"},
		{name: "compatibility forms", in: "ｌｏｂｂｙ ①", want: "lobby 1"},
		{name: "other scripts", in: "カフェ Öl", want: "カフェ Öl"},
		{name: "game and match", in: "cs16/dust2", want: "cs16/dust2"},
		{name: "emoji", in: "🚀 launch", want: "🚀 launch"},
		{name: "empty", in: " ", code: vezechat.CodeBadRequest},
		{name: "control", in: "a\x00b", code: vezechat.CodeBadRequest},
		{name: "bidi override", in: "a\u202eb", code: vezechat.CodeBadRequest},
		{name: "zero width", in: "lob\u200bby", code: vezechat.CodeBadRequest},
		{name: "hangul filler", in: "\u3164", code: vezechat.CodeBadRequest},
		{name: "braille blank", in: "\u2800", code: vezechat.CodeBadRequest},
		{name: "marks alone", in: "\u0301\u0302", code: vezechat.CodeBadRequest},
		{name: "invalid UTF-8", in: "a\xff", code: vezechat.CodeBadRequest},
		{name: "longest", in: strings.Repeat("ö", vezechat.MaxRoomName), want: strings.Repeat("ö", vezechat.MaxRoomName)},
		{name: "too long", in: strings.Repeat("ö", vezechat.MaxRoomName+1), code: vezechat.CodeTooLarge},
		{name: "a megabyte", in: strings.Repeat("x", 1<<20), code: vezechat.CodeTooLarge},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			got, err := Room(tt.in)
			if got.Text != tt.want || vezechat.CodeOf(err) != tt.code {
				t.Errorf("Room(%q) = %q, %v; want %q, %q", tt.in, got.Text, err, tt.want, tt.code)
			}
		})
	}
}

func TestHandle(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ in, want string }{
		{"pilot", "@pilot"},
		{"@pilot", "@pilot"},
		{" Ace of  Base ", "@Ace_of__Base"},
		{"x\u200by\u202ez", "@xyz"},
		{"josé@example.com", "@joséexample.com"},
		{strings.Repeat("a", 500), "@" + strings.Repeat("a", MaxHandle-1)},
		{"@@", ""},
		{"\xff\xfe", ""},
	} {
		got, err := Handle(tt.in)
		if got.Text != tt.want || (tt.want == "") != (err != nil) {
			t.Errorf("Handle(%q) = %q, %v; want %q", tt.in, got.Text, err, tt.want)
		}
	}
}

func TestNames_ThatLookAlikeCollide(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		a, b    string
		collide bool
	}{
		{"lobby", "LOBBY", true},
		{"lobby", "lоbby", true}, // Cyrillic о
		{"PILOT", "pil0t", true},
		{"Ill", "lll", true},
		{"paypal", "pаypаl", true},
		{"straße", "STRASSE", true},
		{"alice", "ᴀʟɪᴄᴇ", true}, // small capitals
		{"Jazz Quiz", "ᴊᴀᴢᴢ ꞯᴜɪᴢ", true},
		{"PILOT", "ᴘɪʟ0ᴛ", true},
		{"ᴀʟɪᴄᴇ", "ᴀʟɪᴄᴇ ʙ", false},
		{"trade", "traded", false},
		{"mail", "mall", false},
		{"guild 1", "guild 2", false},
	} {
		a, errA := Room(tt.a)
		b, errB := Room(tt.b)
		if errA != nil || errB != nil {
			t.Fatal(errA, errB)
		}
		if got := a.Key == b.Key || a.Look == b.Look; got != tt.collide {
			t.Errorf("%q and %q collide: %v, want %v (%q %q)", tt.a, tt.b, got, tt.collide, a.Key, b.Key)
		}
	}
}

func TestOfficial(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		handle string
		want   bool
	}{
		{"admin", true},
		{"@Admin", true},
		{"ADMIN", true},
		{"adm1n", true},
		{"4dmin", true},
		{"admln", true}, // l for i
		{"аdmin", true}, // Cyrillic а
		{"аⅾmіn", true}, // Cyrillic а and і, a Roman numeral
		{"ａｄｍｉｎ", true}, // full width
		{"a_d_m_i_n", true},
		{"\u202eadmin", true},
		{"ad\u200bmin", true},
		{"admin2", true},
		{"Admin_Bob", true},
		{"the.admin", true},
		{"administrator", true},
		{"moderat0r", true},
		{"rnoderator", true}, // rn for m
		{"VezeChat", true},
		{"v3zechat-team", true},
		{"support", true},
		{"Suppоrt24", true}, // Cyrillic о
		{"system", true},
		{"mod", true},
		{"admïn", true}, // accents
		{"Ádmin", true},
		{"ᴀᴅᴍɪɴ", true}, // small capitals
		{"ꜱᴛᴀꜰꜰ", true},
		{"pílot", false},
		{"pilot", false},
		{"modest", false},
		{"modem", false},
		{"systemic", false},
		{"supporter", false},
		{"support_main", false},
		{"rooter", false},
		{"badminton", false},
		{"owner", false},
		{"hera", false},
		{"", false},
	} {
		if got := Official(tt.handle); got != tt.want {
			t.Errorf("Official(%q) = %v, want %v", tt.handle, got, tt.want)
		}
	}
}

func TestEmailDomain(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ in, want string }{
		{"a@veze.example", "veze.example"},
		{"a@VEZE.Example", "veze.example"},
		{"a@veze.example.", "veze.example"},
		{"a@veze.example..", ""},
		{"a@sub.veze.example", "sub.veze.example"},
		{"a@bücher.example", "xn--bcher-kva.example"},
		{"a@BU\u0308CHER.example", "xn--bcher-kva.example"}, // another normal form
		{"a@xn--bcher-kva.example", "xn--bcher-kva.example"},
		{"a@XN--BCHER-KVA.example", "xn--bcher-kva.example"},
		{"a@veze。example", "veze.example"},        // an ideographic full stop is a dot
		{"a@vеze.example", "xn--vze-rdd.example"}, // Cyrillic е
		{"a@evil.example@veze.example", ""},
		{`"a@evil.example"@veze.example`, ""},
		{"a@veze.example@evil.example", ""},
		{"a@veze.example\r\nX: y", ""},
		{"a@veze.example>", ""},
		{"a@veze .example", ""},
		{"@veze.example", ""},
		{"veze.example", ""},
		{"a@", ""},
		{"", ""},
	} {
		if got := EmailDomain(tt.in); got != tt.want {
			t.Errorf("EmailDomain(%q) = %q, want %q", tt.in, got, tt.want)
		}
	}
}

func TestNumbered_Fits(t *testing.T) {
	t.Parallel()
	h, _ := Handle(strings.Repeat("b", 40))
	got := Numbered(h, "1234")
	if n := utf8.RuneCountInString(got.Text); n != MaxHandle || !strings.HasSuffix(got.Text, "b1234") {
		t.Errorf("Numbered = %q (%d characters)", got.Text, n)
	}
}

func FuzzNames(f *testing.F) {
	for _, s := range []string{"lobby", "@pilot", "a\u202eb", "ﷺ", "\u3164", "e\u0301", "🚀", "\xff"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if n, err := Room(s); err == nil {
			check(t, n, vezechat.MaxRoomName)
			again, err := Room(n.Text)
			if err != nil || again != n {
				t.Errorf("Room is not stable: %+q, then %+q, %v", n, again, err)
			}
		}
		if n, err := Handle(s); err == nil {
			check(t, n, MaxHandle)
			if again, err := Handle(n.Text); err != nil || again != n {
				t.Errorf("Handle is not stable: %+q, then %+q, %v", n, again, err)
			}
		}
	})
}

func check(t *testing.T, n Name, limit int) {
	t.Helper()
	if n.Text == "" || n.Key == "" || !utf8.ValidString(n.Text) || utf8.RuneCountInString(n.Text) > limit {
		t.Errorf("unusable name %+q", n)
	}
	for _, r := range n.Text {
		if unicode.IsControl(r) || unicode.Is(unicode.Cf, r) {
			t.Errorf("%+q keeps %U", n.Text, r)
		}
	}
}
