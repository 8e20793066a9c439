package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"charm.land/bubbles/v2/progress"
)

// line is a line of a file, or why there is no further one.
type line struct {
	number int
	text   []byte
	err    error
}

// lines opens a file, or standard input for "-", and sends its lines, and at last
// an error: io.EOF or another. done must be called when ctx has ended.
func (a *app) lines(ctx context.Context, name string) (_ <-chan line, done func(), err error) {
	in := io.NopCloser(a.stdin)
	if name != "-" {
		if in, err = os.Open(name); err != nil {
			return nil, nil, err
		}
	}
	lines := make(chan line, batchSize)
	go read(ctx, in, lines)
	return lines, func() { _ = in.Close() }, nil // it was only read
}

// read sends the lines of a file, and at last an error: io.EOF or another.
func read(ctx context.Context, in io.Reader, lines chan<- line) {
	scanner := bufio.NewScanner(in)
	scanner.Buffer(nil, 1<<20)
	send := func(l line) bool {
		select {
		case lines <- l:
			return true
		case <-ctx.Done():
			return false
		}
	}
	number := 0
	for scanner.Scan() {
		number++
		if !send(line{number: number, text: bytes.Clone(scanner.Bytes())}) {
			return
		}
	}
	err := io.EOF
	if scanner.Err() != nil {
		err = fmt.Errorf("line %d: %w", number+1, scanner.Err())
	}
	send(line{err: err})
}

// intake takes the lines of a file, with a progress bar.
type intake struct {
	*app
	name     string
	strict   bool // stop at the first malformed line
	bar      *bar
	rejected int
}

// run calls take for each line that is not blank, until the file ends.
func (i *intake) run(ctx context.Context, name string, take func(l line) error) error {
	i.name, i.bar = name, newBar(i.stderr, []string{name})
	defer func() { i.bar.done() }()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	lines, done, err := i.lines(ctx, name)
	if err != nil {
		return err
	}
	defer done()
	for {
		var l line
		select {
		case l = <-lines:
		case <-ctx.Done():
			return ctx.Err()
		}
		switch {
		case errors.Is(l.err, io.EOF):
			return nil
		case l.err != nil:
			return fmt.Errorf("%s: %w", name, l.err)
		case len(bytes.TrimSpace(l.text)) == 0:
			continue
		}
		i.bar.add(len(l.text) + 1)
		if err := take(l); err != nil {
			return err
		}
	}
}

// reject reports a line that cannot be used.
func (i *intake) reject(number int, err error) error {
	err = fmt.Errorf("%s:%d: %w", i.name, number, err)
	if i.strict {
		return err
	}
	i.rejected++
	i.bar.clear()
	i.warn(err)
	return nil
}

// bar is a progress bar on a terminal, and nothing elsewhere.
type bar struct {
	w           io.Writer // nil: not a terminal
	model       progress.Model
	read, total int64
	drawn       time.Time
}

func newBar(w io.Writer, files []string) *bar {
	b := &bar{}
	for _, name := range files {
		info, err := os.Stat(name)
		if err != nil || !info.Mode().IsRegular() {
			return b // of unknown length
		}
		b.total += info.Size()
	}
	if terminal(w) {
		b.w, b.model = w, progress.New(progress.WithWidth(50))
	}
	return b
}

func (b *bar) add(n int) {
	b.read += int64(n)
	if b.w != nil && time.Since(b.drawn) > 50*time.Millisecond {
		b.draw()
	}
}

func (b *bar) draw() {
	b.drawn = time.Now()
	part := float64(b.read) / float64(max(b.total, 1))
	b.write("\r" + b.model.ViewAs(min(part, 1)))
}

// clear makes room for a line of text.
func (b *bar) clear() {
	b.write("\r\x1b[K")
}

func (b *bar) done() {
	if b.w != nil {
		b.draw()
		b.write("\n")
	}
}

// write draws; a bar that cannot be drawn is no reason to stop.
func (b *bar) write(s string) {
	if b.w != nil {
		_, _ = io.WriteString(b.w, s)
	}
}
