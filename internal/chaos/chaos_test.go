package chaos

import (
	"flag"
	"os"
	"path/filepath"
	"testing"
	"time"

	"go.uber.org/goleak"

	"vezeuniqverse.com/vezechat/internal/devstack"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// The flags of a run: `make chaos` sets them.
var ( // flags of a test binary have nowhere else to be
	seedFlag     = flag.Uint64("seed", 0, "of the schedule and the load; 0: by the clock")
	durationFlag = flag.Duration("duration", 25*time.Second, "of the load")
	usersFlag    = flag.Int("users", 24, "with a socket each")
	rateFlag     = flag.Float64("rate", 80, "messages and changes a second")
	guardedFlag  = flag.Bool("guarded", false, "texts are judged by the built-in rules, but for limits of spam")
)

// The promises of DESIGN.md hold while every part is killed. Without flags this is
// the short form, each part once; `make chaos` is the long one.
//
//nolint:paralleltest // measures times, with the machine to itself
func TestChaos(t *testing.T) {
	if testing.Short() {
		t.Skip("-short: the hub is not attacked")
	}
	found, err := Run(t.Context(), config(t, "", seed()))
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range found {
		t.Error(f)
	}
}

func seed() uint64 {
	if *seedFlag != 0 {
		return *seedFlag
	}
	return uint64(time.Now().UnixNano()/1e6) % 1_000_000
}

func config(t *testing.T, overlay string, seed uint64) Config {
	t.Helper()
	needServers(t)
	source, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	return Config{
		Source: source, Overlay: overlay, Seed: seed, Duration: *durationFlag, Users: *usersFlag, Rooms: 5, Rate: *rateFlag, Guarded: *guardedFlag,
		Out: t.Output(),
	}
}

func needServers(t *testing.T) {
	t.Helper()
	_, err1 := devstack.PostgresHome(t.Context(), "")
	_, err2 := devstack.RedisServer()
	for _, err := range []error{err1, err2} {
		if err == nil {
			continue
		}
		if os.Getenv("CI") != "" { // tells whether a missing server is a failure
			t.Fatal(err)
		}
		t.Skipf("not attacked: %v", err)
	}
}
