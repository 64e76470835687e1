package guard

// automaton finds all patterns in a row of letters in one pass (Aho and Corasick,
// "Efficient string matching", 1975). Its edges are one hash table with open
// addressing: a node is few bytes, and long lists stay in the caches.
type automaton struct {
	mask  uint32
	edges []edge
	nodes []node
}

type edge struct {
	from int32 // 0 is the root, which has edges too: to tells a free place
	r    rune
	to   int32 // 0: a free place
}

type node struct {
	fail  int32   // the longest end of this node that is a node
	found int32   // this node or the next one down its fails that ends patterns; 0: none
	ends  []int32 // patterns
	depth int32
}

// newAutomaton builds an automaton of patterns; what ends is told by their index.
func newAutomaton(patterns [][]rune) *automaton {
	total := 1
	for _, p := range patterns {
		total += len(p)
	}
	size := 8
	for size < 2*total {
		size *= 2
	}
	a := &automaton{mask: uint32(size - 1), edges: make([]edge, size), nodes: make([]node, 1, total)}
	for i, p := range patterns {
		n := int32(0)
		for _, r := range p {
			n = a.grow(n, r)
		}
		a.nodes[n].ends = append(a.nodes[n].ends, int32(i))
	}
	a.link()
	return a
}

func (a *automaton) place(from int32, r rune) uint32 {
	h := (uint32(from)*0x9E3779B1 ^ uint32(r)) * 0x85EBCA6B
	return (h ^ h>>15) & a.mask
}

// next returns where an edge leads, 0 if there is none.
func (a *automaton) next(from int32, r rune) int32 {
	for i := a.place(from, r); ; i = (i + 1) & a.mask {
		e := &a.edges[i]
		if e.to == 0 || e.from == from && e.r == r {
			return e.to
		}
	}
}

func (a *automaton) grow(from int32, r rune) int32 {
	i := a.place(from, r)
	for ; a.edges[i].to != 0; i = (i + 1) & a.mask {
		if e := a.edges[i]; e.from == from && e.r == r {
			return e.to
		}
	}
	to := int32(len(a.nodes))
	a.nodes = append(a.nodes, node{depth: a.nodes[from].depth + 1})
	a.edges[i] = edge{from, r, to}
	return to
}

// link finds where each node falls back to, those near the root first.
func (a *automaton) link() {
	byDepth := make([][]edge, 1)
	for _, e := range a.edges {
		if e.to == 0 {
			continue
		}
		d := int(a.nodes[e.to].depth)
		for len(byDepth) <= d {
			byDepth = append(byDepth, nil)
		}
		byDepth[d] = append(byDepth[d], e)
	}
	for _, edges := range byDepth {
		for _, e := range edges {
			n := &a.nodes[e.to]
			if e.from != 0 {
				n.fail = a.step(a.nodes[e.from].fail, e.r)
			}
			n.found = a.nodes[n.fail].found
			if len(n.ends) > 0 {
				n.found = e.to
			}
		}
	}
}

// step is where the automaton is after one more letter.
func (a *automaton) step(n int32, r rune) int32 {
	for {
		if to := a.next(n, r); to != 0 {
			return to
		}
		if n == 0 {
			return 0
		}
		n = a.nodes[n].fail
	}
}
