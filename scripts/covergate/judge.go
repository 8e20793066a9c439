package main

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
)

// judge prints how much of the library ran, and returns an error when that is
// not all but what is exempt.
func judge(out io.Writer, sources []*source, blocks []block, entries []exemption, limit int) error {
	byFile := map[string][]block{}
	for _, b := range blocks {
		byFile[b.file] = append(byFile[b.file], b)
	}
	used := make([]bool, len(entries))
	var total, covered, excused int
	var exempt, missing strings.Builder
	var exemptBlocks, missingBlocks int

	for _, s := range sources {
		found := byFile[s.profile]
		if len(found) == 0 && s.runs {
			missingBlocks++
			fmt.Fprintf(&missing, "  %s: the profile does not know this file\n", s.name)
		}
		slices.SortFunc(found, func(a, b block) int {
			return cmp.Or(cmp.Compare(a.startLine, b.startLine), cmp.Compare(a.startCol, b.startCol))
		})
		for _, b := range found {
			total += b.statements
			if b.count > 0 || b.statements == 0 {
				covered += b.statements
				continue
			}
			line := s.firstLine(b)
			place := fmt.Sprintf("  %s:%d: in %s: %s\n", s.name, line, s.declAt(b.startLine), s.line(line))
			at := slices.IndexFunc(entries, func(e exemption) bool { return e.covers(s, b) })
			if at < 0 {
				missingBlocks++
				missing.WriteString(place)
				continue
			}
			used[at] = true
			exemptBlocks++
			excused += b.statements
			fmt.Fprintf(&exempt, "%s      %s\n", place, entries[at].reason)
		}
	}
	if total == 0 {
		return errors.New("the profile holds no statement of the library")
	}

	var problems []string
	var report strings.Builder
	percent := float64(covered) / float64(total) * 100
	if covered < total {
		percent = min(percent, 99.99) // never rounded up to all
	}
	fmt.Fprintf(&report, "library coverage: %d of %d statements, %.2f %%; %d exempt\n", covered, total, percent, excused)
	if exemptBlocks > 0 {
		fmt.Fprintf(&report, "exempt, %d blocks of at most %d:\n%s", exemptBlocks, limit, exempt.String())
	}
	if exemptBlocks > limit {
		problems = append(problems, fmt.Sprintf("%d blocks are exempt, at most %d may be", exemptBlocks, limit))
	}
	if missingBlocks > 0 {
		fmt.Fprintf(&report, "not covered:\n%s", missing.String())
		problems = append(problems, fmt.Sprintf("not covered: %d blocks", missingBlocks))
	}
	for i, e := range entries {
		if !used[i] {
			problems = append(problems, fmt.Sprintf(
				"the exemption in line %d is stale, no uncovered block fits it: %s %s: %s", e.at, e.file, e.function, e.text))
		}
	}
	if _, err := io.WriteString(out, report.String()); err != nil {
		return err
	}
	if len(problems) > 0 {
		return errors.New(strings.Join(problems, "\n\t"))
	}
	return nil
}
