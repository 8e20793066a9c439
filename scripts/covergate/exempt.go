package main

import (
	"fmt"
	"strings"
)

// exemption names code that no test can run, in a way that outlives shifted
// lines, and says why.
type exemption struct {
	at       int // its line in the file of exemptions
	file     string
	function string
	text     string // a line of the block, without indentation
	reason   string
}

// parseExemptions reads entries of the form
//
//	path/file.go (*Type).Method: a line of the code, as it stands there
//	    The reason, indented, on as many lines as it takes.
//
// Empty lines and lines that begin with # are skipped.
func parseExemptions(text string) ([]exemption, error) {
	var entries []exemption
	for i, line := range strings.Split(text, "\n") {
		at := i + 1
		trimmed := strings.TrimSpace(line)
		switch {
		case trimmed == "" || strings.HasPrefix(line, "#"):
		case strings.HasPrefix(line, " ") || strings.HasPrefix(line, "\t"):
			if len(entries) == 0 {
				return nil, fmt.Errorf("line %d: a reason without an entry", at)
			}
			e := &entries[len(entries)-1]
			e.reason = strings.TrimSpace(e.reason + " " + trimmed)
		default:
			place, quote, ok := strings.Cut(trimmed, ": ")
			file, function, ok2 := strings.Cut(place, " ")
			if !ok || !ok2 {
				return nil, fmt.Errorf("line %d: want %q, got %q", at, "file.go Function: a line of the code", trimmed)
			}
			entries = append(entries, exemption{at: at, file: file, function: function, text: strings.TrimSpace(quote)})
		}
	}
	for _, e := range entries {
		if e.reason == "" {
			return nil, fmt.Errorf("line %d: no reason: say, on indented lines below it, why no test can run this", e.at)
		}
	}
	return entries, nil
}

// covers tells whether the exemption means this block.
func (e exemption) covers(s *source, b block) bool {
	if e.file != s.name || e.function != s.declAt(b.startLine) {
		return false
	}
	for n := b.startLine; n <= b.endLine; n++ {
		if s.line(n) == e.text {
			return true
		}
	}
	return false
}
