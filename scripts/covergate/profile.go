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

// profile is what the tests ran. With -coverpkg each test binary reports every
// package, so a block comes as often as there are binaries: the greatest count
// stands for all.
type profile struct {
	blocks []block
	index  map[block]int // by the block without its count
}

// read adds a profile of go test.
func (p *profile) read(r io.Reader) error {
	scan := bufio.NewScanner(r)
	if !scan.Scan() || !strings.HasPrefix(scan.Text(), "mode: ") {
		return fmt.Errorf("not a coverage profile: want a first line %q", "mode: …")
	}
	if p.index == nil {
		p.index = map[block]int{}
	}
	for n := 2; scan.Scan(); n++ {
		b, err := parseBlock(scan.Text())
		if err != nil {
			return fmt.Errorf("line %d: %w", n, err)
		}
		key := b
		key.count = 0
		if at, ok := p.index[key]; ok {
			p.blocks[at].count = max(p.blocks[at].count, b.count)
			continue
		}
		p.index[key] = len(p.blocks)
		p.blocks = append(p.blocks, b)
	}
	return scan.Err()
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
