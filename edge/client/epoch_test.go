package client

import (
	"testing"

	"vezeuniqverse.com/vezechat"
)

// A cursor belongs to the epoch in which it was got. After the log was restored
// the hub says another one in its hello: the old place must not be passed off as
// one of that, or the hub cannot answer reset.
func TestClient_CursorKeepsItsEpoch(t *testing.T) {
	t.Parallel()
	c := &Client{rooms: map[vezechat.RoomID]*room{1: {}}}
	c.hello.Epoch = "e1"
	c.joined(reply{RoomID: 1, Head: 40})
	c.hello.Epoch = "e2" // as connect does after a reconnect
	if f := c.joinFrame(1); f["after"] != vezechat.Seq(40) || f["epoch"] != "e1" {
		t.Errorf("place 40 of e1 is sent as %v of %v", f["after"], f["epoch"])
	}
	if !c.joined(reply{RoomID: 1, Head: 1_000_040, Reset: true}) {
		t.Error("the reset is not told")
	}
	if f := c.joinFrame(1); f["after"] != vezechat.Seq(1_000_040) || f["epoch"] != "e2" {
		t.Errorf("after the reset: %v of %v", f["after"], f["epoch"])
	}
}
