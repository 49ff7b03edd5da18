# Reads what `go test` printed (without -v) and prints which packages and tests
# failed, each with its own lines, at most MOST of them. What a package logs
# beside its tests begins at the margin, what a test says is indented: that is
# how they are told apart. Only POSIX awk, so that nothing need be fetched.

BEGIN { MOST = 40; FS = "\t" }

# The compiler, vet and the module loader write among the packages, below the
# name of what they could not build.
/^# / { building = 1; builtLines = 0 }
building && !/^(# |vet: |\t|too many errors|[^ ]+\.(go|s|c|h):[0-9]+)/ { building = 0 }
building { if (++builtLines <= MOST) built[++builds] = $0; next }

{ line[++lines] = $0 }

/^(ok  |\?   )\t/ { lines = 0 }
/^FAIL\t/ { report($2, $3); lines = 0 }

END {
	if (lines > 1 || line[1] != "FAIL") report("go test", "ended in the middle") # killed, perhaps
	print "\n==== FAILED ===="
	for (i = 1; i <= builds; i++) print built[i]
	for (i = 1; i <= said; i++) print out[i]
}

function say(text) { out[++said] = text }

# report sums up one package, whose output is in line[1..lines].
function report(package, how,    i, found) {
	say(package (how == "" ? "" : " (" how ")"))
	for (i = 1; i <= lines; i++) {
		if (line[i] ~ /^--- FAIL: /) { i = test(i); found = 1 }
		else if (line[i] ~ /^(panic: |fatal error: |WARNING: DATA RACE|SIG[A-Z]+: )/) { i = crash(i); found = 1 }
	}
	if (!found && package !~ /(build|setup) failed/) excerpt(1, lines, 0) # it ends with the reason
}

# test says what stands indented below the failure at i, and returns where it ends.
function test(i,    end) {
	for (end = i; end < lines && line[end + 1] ~ /^[ \t]/; end++);
	excerpt(i, end, MOST / 4) # and with what it came to
	return end
}

# crash says how a panic or a report of the race detector begins, and returns
# where it ends: the next test, or the end of the package.
function crash(i,    end) {
	for (end = i; end < lines && line[end + 1] !~ /^(--- FAIL: |FAIL|==================$)/; end++);
	excerpt(i, end, MOST) # it begins with the culprit
	return end
}

# excerpt says the lines from one to another without what is logged below an
# error. When they are too many it leaves some out after the first head ones.
function excerpt(from, to, head,    i, n, kept) {
	for (i = from; i <= to; i++)
		if (line[i] !~ / level=(DEBUG|INFO|WARN) |"level":"(DEBUG|INFO|WARN)"/) kept[++n] = line[i]
	for (i = 1; i <= n; i++) {
		if (n > MOST && i == head + 1) {
			say("  … " (n - MOST) " more lines, above …")
			i += n - MOST
		}
		if (i <= n) say("  " kept[i])
	}
}
