//go:build race

package e2e

// raceFlag is how the program is built: as the tests are.
var raceFlag = []string{"-race"}
