package deskplay

import (
	"fmt"
	"io"
	"time"
)

// Report is what came of a replay.
type Report struct {
	Config  Config
	Counts  Counts
	Took    time.Duration
	Brands  int
	Crew    int // agents, those who came for others too
	Checks  []Check
	Trouble []string        // what went wrong while it was played
	Offered []time.Duration // how long tickets waited for their first offer, sorted
}

// Good reports whether all is as the desk promises.
func (r *Report) Good() bool {
	for _, c := range r.Checks {
		if len(c.Differs) > 0 || c.Looked == 0 {
			return false
		}
	}
	return len(r.Checks) > 0 && len(r.Trouble) == 0
}

// shown is how many differences of one kind are printed.
const shown = 10

// Print writes the report.
func (r *Report) Print(w io.Writer) {
	n := r.Counts
	fmt.Fprintf(w, "threads        %d of %d brands, with %d agents at a time, %d in all\n", len(r.Config.Threads), r.Brands, r.Config.Agents, r.Crew)
	fmt.Fprintf(w, "played         in %s, seed %d: %d messages, tickets solved %d times\n", r.Took.Round(100*time.Millisecond), r.Config.Seed, n.Messages, n.Solved)
	fmt.Fprintf(w, "offers         %d accepted by hand, %d declined, %d let pass\n", n.Accepted, n.Declined, n.Ignored)
	fmt.Fprintf(w, "vanished       %d agents; %d tickets given back by hand, the rest by the desk\n", n.Vanished, n.GivenBack)
	fmt.Fprintf(w, "asked again    %d times, while a part was away\n", n.Retries)
	if k := len(r.Offered); k > 0 {
		fmt.Fprintf(w, "first offer    after %s (p50), %s (p99)\n", r.Offered[(k-1)/2].Round(time.Millisecond), r.Offered[(k-1)*99/100].Round(time.Millisecond))
	}
	for _, c := range r.Checks {
		if len(c.Differs) == 0 {
			fmt.Fprintf(w, "%-14s %d, all as they should be\n", c.Name, c.Looked)
			continue
		}
		fmt.Fprintf(w, "%-14s %d, %d DIFFER\n", c.Name, c.Looked, len(c.Differs))
		for _, d := range c.Differs[:min(shown, len(c.Differs))] {
			fmt.Fprintln(w, "               "+d)
		}
	}
	for _, t := range r.Trouble {
		fmt.Fprintln(w, "trouble        "+t)
	}
	if r.Good() {
		fmt.Fprintln(w, "no difference")
	} else {
		fmt.Fprintln(w, "THE DESK DIFFERS FROM WHAT IT PROMISES")
	}
}
