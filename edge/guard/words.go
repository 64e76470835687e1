package guard

import (
	"strings"

	"github.com/trustelem/zxcvbn/frequency"
)

// common is how many of the most frequent words of four letters and more count as
// neighbours that a listed word may be joined to.
const (
	common    = 8000
	commonLen = 4
)

// dictionary is what is known to be a word or a name, by a hash of its letters:
// 94,000 English words, forenames, surnames and common passwords in 4 MB.
type dictionary struct {
	words map[uint64]bool // true: a common one
}

func newDictionary() *dictionary {
	d := &dictionary{words: make(map[uint64]bool, 1<<16)}
	for name, list := range frequency.FrequencyLists { // a word is in one of them: many are in "passwords"
		most := 0
		switch name {
		case "english_wikipedia", "us_tv_and_film", "passwords":
			most = common
		}
		for i, w := range list {
			d.words[hashString(w)] = i < most && len(w) >= commonLen
		}
	}
	for _, w := range chatWords {
		d.words[hashString(w)] = false
	}
	for _, w := range shortWords {
		d.words[hashString(w)] = true
	}
	return d
}

// shortWords are shorter ones that others are joined to, and a few that are surnames, too.
var shortWords = strings.Fields(`a i u am an as at be by do go he if im in is it me my no of oh on or so to up ur us we ya yo
	all and any are bad big but can fat for gay get got had has her him his how its man men new not now off old one our out
	she the they too two was who why you yes`)

// chatWords are what people write in chats and no dictionary has.
var chatWords = strings.Fields(`pls plz lol lmao lmfao rofl omg idk imo imho brb afk btw gg wp ez glhf thx ty np irl tbh smh ikr fyi`)

// has reports whether letters are a word.
func (d *dictionary) has(letters []byte) bool {
	_, ok := d.words[hashBytes(letters)]
	return ok
}

// splits reports whether letters are at most so many common words without spaces,
// each of at least so many letters. One may be of two letters; if single ones may be,
// all may.
func (d *dictionary) splits(letters []byte, least, most int) bool {
	if len(letters) == 0 {
		return true
	}
	if most == 0 {
		return false
	}
	h := uint64(hashSeed)
	for i := range len(letters) {
		h = (h ^ uint64(letters[i])) * hashPrime
		n := i + 1
		if n < least || !d.words[h] {
			continue
		}
		next := least
		if n == 2 && least == 2 {
			next = 3
		}
		if d.splits(letters[n:], next, most-1) {
			return true
		}
	}
	return false
}

// FNV-1a, 64 bit.
const (
	hashSeed  = 14695981039346656037
	hashPrime = 1099511628211
)

func hashString(s string) uint64 {
	h := uint64(hashSeed)
	for i := range len(s) {
		h = (h ^ uint64(s[i])) * hashPrime
	}
	return h
}

func hashBytes(s []byte) uint64 {
	h := uint64(hashSeed)
	for _, c := range s {
		h = (h ^ uint64(c)) * hashPrime
	}
	return h
}
