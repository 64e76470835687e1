// Package guard judges texts on their way in by the rules that administrators
// edit: lists of words, limits of spam, and where links may lead.
//
// A text is read once. Each character becomes the letter that it is read as: its
// compatibility form (NFKC), its case folded, what it is confusable with (UTS #39
// §4), the letter that a digit or a sign stands for; marks and what nobody sees is
// left out, and the same letter again is one letter that is stretched. Over these
// letters runs one automaton of all words (Aho and Corasick, 1975), across the
// spaces and signs between them, and what it finds is a hit only if the borders of
// words, the doubled letters and the dictionary agree: a listed word is found when
// it is a word, spaced out, broken up, stretched or joined to common words, and
// never inside of an innocent one.
//
// A Matcher is rules made ready; it never changes and is safe for concurrent use.
// Guards hold the one in force, which is swapped at once for all who ask after it,
// and what authors said lately, within a bound. The package knows no log and no
// clock, keeps no text after it has judged it, and writes none anywhere.
package guard
