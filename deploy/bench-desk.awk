# Makes a table of what Go benchmarks report: a figure, and beside it what it has to
# be at most or at least, where a metric of the same name with -most or -least says so.
BEGIN {
	row = "%-34s %-12s %10s  %-10s %s\n"
	printf row, "work", "figure", "", "budget", ""
}
/^Benchmark/ {
	name = $1
	sub(/^Benchmark/, "", name)
	sub(/-[0-9]+$/, "", name)
	delete most
	delete least
	for (i = 3; i < NF; i += 2) {
		unit = $(i + 1)
		if (sub(/-most$/, "", unit)) most[unit] = $i
		else if (sub(/-least$/, "", unit)) least[unit] = $i
	}
	for (i = 3; i < NF; i += 2) {
		unit = $(i + 1)
		if (unit == "ns/op" || unit ~ /-(most|least)$/) continue
		budget = verdict = ""
		if (unit in most) {
			budget = "<= " most[unit]
			verdict = $i <= most[unit] ? "met" : "MISSED"
		}
		if (unit in least) {
			budget = ">= " least[unit]
			verdict = $i >= least[unit] ? "met" : "MISSED"
		}
		printf row, name, unit, $i, budget, verdict
		rows++
	}
	next
}
/^(---|FAIL|panic|    )/ { print; failed = 1 }
END { exit failed || !rows }
