package main

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"path"
	"slices"
	"strings"
)

// coverage is what the tests ran of the library, and what they did not.
type coverage struct {
	total, covered int // statements
	unknown        []*source
	gaps           []gap
}

// gap is a block that no test ran.
type gap struct {
	in        *source
	block     block
	exemption int // -1 if none fits
}

func (g gap) String() string {
	line := g.in.firstLine(g.block)
	return fmt.Sprintf("  %s:%d: in %s: %s\n", g.in.name, line, g.in.declAt(g.block.startLine), g.in.line(line))
}

// survey compares the library with what ran of it.
func survey(sources []*source, blocks []block, entries []exemption) (c coverage) {
	byFile := map[string][]block{}
	for _, b := range blocks {
		byFile[b.file] = append(byFile[b.file], b)
	}
	for _, s := range sources {
		found := byFile[s.profile]
		if len(found) == 0 && s.runs {
			c.unknown = append(c.unknown, s)
		}
		slices.SortFunc(found, func(a, b block) int {
			return cmp.Or(cmp.Compare(a.startLine, b.startLine), cmp.Compare(a.startCol, b.startCol))
		})
		for _, b := range found {
			c.total += b.statements
			if b.count > 0 || b.statements == 0 {
				c.covered += b.statements
				continue
			}
			at := slices.IndexFunc(entries, func(e exemption) bool { return e.covers(s, b) })
			c.gaps = append(c.gaps, gap{s, b, at})
		}
	}
	return c
}

// missed lists the folders with gaps that are not exempt, as go test takes them.
func (c coverage) missed() []string {
	var folders []string
	for _, g := range c.gaps {
		if g.exemption < 0 {
			folders = append(folders, "."+strings.TrimSuffix("/"+path.Dir(g.in.name), "/."))
		}
	}
	slices.Sort(folders)
	return slices.Compact(folders)
}

// judge prints how much of the library ran, and returns an error when that is
// not all but what is exempt.
func (c coverage) judge(out io.Writer, entries []exemption, limit int) error {
	used := make([]bool, len(entries))
	var excused int
	var exempt, missing strings.Builder
	var exemptBlocks, missingBlocks int
	for _, s := range c.unknown {
		missingBlocks++
		fmt.Fprintf(&missing, "  %s: the profile does not know this file\n", s.name)
	}
	for _, g := range c.gaps {
		if g.exemption < 0 {
			missingBlocks++
			missing.WriteString(g.String())
			continue
		}
		used[g.exemption] = true
		exemptBlocks++
		excused += g.block.statements
		fmt.Fprintf(&exempt, "%s      %s\n", g, entries[g.exemption].reason)
	}
	if c.total == 0 {
		return errors.New("the profile holds no statement of the library")
	}

	var problems []string
	var report strings.Builder
	percent := float64(c.covered) / float64(c.total) * 100
	if c.covered < c.total {
		percent = min(percent, 99.99) // never rounded up to all
	}
	fmt.Fprintf(&report, "library coverage: %d of %d statements, %.2f %%; %d exempt\n", c.covered, c.total, percent, excused)
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
