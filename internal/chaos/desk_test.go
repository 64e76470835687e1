package chaos

import (
	"flag"
	"os"
	"path/filepath"
	"testing"
	"time"

	"vezeuniqverse.com/vezechat/internal/deskplay"
)

// The flags of a replay: `make desk-replay` sets them.
var ( // flags of a test binary have nowhere else to be
	threadsFlag = flag.String("threads", "../deskplay/testdata/threads.jsonl", "file of support threads")
	speedFlag   = flag.Float64("speed", 0, "how much faster than they were recorded; 0: as fast as it goes")
	agentsFlag  = flag.Int("agents", 8, "who work at a time")
	deathsFlag  = flag.Int("deaths", 0, "agents who vanish")
	killFlag    = flag.Duration("kill-routers", 2*time.Second, "between kills of a router; 0: none")
)

// Support threads are handled while routers are killed: each ticket by one agent at a
// time, nobody above their capacity. Without flags this is a small file;
// `make desk-replay FILE=…` is a whole one.
//
//nolint:paralleltest // whole hubs run one after the other
func TestDeskReplay(t *testing.T) {
	if testing.Short() {
		t.Skip("-short: no hub is run")
	}
	needServers(t)
	f, err := os.Open(*threadsFlag)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	threads, err := deskplay.Read(f)
	if err != nil {
		t.Fatal(err)
	}
	source, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	found, err := RunDesk(t.Context(), DeskConfig{
		Source: source, Threads: threads, Speed: *speedFlag, Agents: *agentsFlag, Deaths: *deathsFlag, KillEvery: *killFlag,
		Settle: 4 * time.Minute, Seed: max(1, *seedFlag), Out: t.Output(),
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range found {
		t.Error(f)
	}
}
