package main

import (
	"bufio"
	"fmt"
	"io"
	"strings"
)

// block is a run of statements that execute together.
type block struct {
	file                string // import path and file name
	startLine, startCol int
	endLine, endCol     int
	statements          int
	count               uint64
}

// readProfile reads a profile of go test. With -coverpkg each test binary
// reports every package, so a block comes as often as there are binaries: the
// greatest count stands for all.
func readProfile(r io.Reader) ([]block, error) {
	scan := bufio.NewScanner(r)
	if !scan.Scan() || !strings.HasPrefix(scan.Text(), "mode: ") {
		return nil, fmt.Errorf("not a coverage profile: want a first line %q", "mode: …")
	}
	var blocks []block
	index := map[block]int{} // by the block without its count
	for n := 2; scan.Scan(); n++ {
		b, err := parseBlock(scan.Text())
		if err != nil {
			return nil, fmt.Errorf("line %d: %w", n, err)
		}
		key := b
		key.count = 0
		if at, ok := index[key]; ok {
			blocks[at].count = max(blocks[at].count, b.count)
			continue
		}
		index[key] = len(blocks)
		blocks = append(blocks, b)
	}
	return blocks, scan.Err()
}

// parseBlock reads "file.go:1.2,3.4 statements count".
func parseBlock(line string) (block, error) {
	var b block
	colon := strings.LastIndexByte(line, ':')
	if colon < 0 {
		return b, fmt.Errorf("%q has no position", line)
	}
	b.file = line[:colon]
	_, err := fmt.Sscanf(line[colon+1:], "%d.%d,%d.%d %d %d",
		&b.startLine, &b.startCol, &b.endLine, &b.endCol, &b.statements, &b.count)
	if err != nil {
		return b, fmt.Errorf("%q: %w", line, err)
	}
	return b, nil
}
