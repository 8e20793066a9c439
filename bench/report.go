package main

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"time"
)

// row is a line of the table.
type row struct {
	work       string
	ours, peer string // absolute figures
	peerName   string
	ratio      spread // zero where there is no peer
	limit      string
	ok         bool
	note       string
}

// report is the table and what it was measured on.
type report struct {
	rows   []row
	hits   []row
	missed bool
}

func (r *report) add(line row) {
	r.rows = append(r.rows, line)
	r.missed = r.missed || !line.ok
	fmt.Fprintf(os.Stderr, "  %s: %s; %s; ratio %s; %s\n", line.work, line.ours, line.peer, line.ratio, verdict(line.ok))
}

// hit adds the percentiles of reads of single values, each timed.
func (r *report) hit(what string, s series) {
	p99 := s.quantile(0.99)
	line := row{work: what, ours: fmt.Sprintf("p50 %s, p99 %s", short(s.quantile(0.5)), short(p99)), limit: "p99 < 1 ms", ok: p99 < time.Millisecond}
	r.hits = append(r.hits, line)
	r.missed = r.missed || !line.ok
}

func verdict(ok bool) string {
	if ok {
		return "ok"
	}
	return "MISSED"
}

func (s spread) String() string {
	if s.median == 0 {
		return "–"
	}
	return fmt.Sprintf("%.2f ± %.2f (%.2f–%.2f)", s.median, s.deviation, s.min, s.max)
}

func latencies(s series) string {
	return fmt.Sprintf("p50 %s, p99 %s", short(s.quantile(0.5)), short(s.quantile(0.99)))
}

func rates(s series) string {
	return fmt.Sprintf("%s /s, p50 %s, p99 %s", thousands(median(s.figures)), short(s.quantile(0.5)), short(s.quantile(0.99)))
}

func perOp(s series) string { return fmt.Sprintf("%.1f ns", median(s.figures)) }

// short writes a duration with three digits or so.
func short(d time.Duration) string {
	switch {
	case d < time.Microsecond:
		return fmt.Sprintf("%d ns", d.Nanoseconds())
	case d < 10*time.Microsecond:
		return fmt.Sprintf("%.1f µs", float64(d)/1e3)
	case d < time.Millisecond:
		return fmt.Sprintf("%.0f µs", float64(d)/1e3)
	}
	return fmt.Sprintf("%.1f ms", float64(d)/1e6)
}

func thousands(v float64) string {
	s := fmt.Sprintf("%.0f", v)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

// predecessor is what the Python library fullon_cache 0.5.11 reached on another
// machine of the same kind (2 cores, Redis 7.0.15 on loopback).
const predecessor = `| work | fullon_cache 0.5.11 (uvloop) |
| --- | --- |
| set one ticker (store + publish), one caller, p50 | 1,050 µs (6 round trips) |
| the same, 64 callers | 1,750–2,000 /s |
| get one ticker over the network, p50 | 362 µs |
| near-cache hit | none |
| in-process mirror | none |
`

// write writes the report as Markdown.
func (r *report) write(w io.Writer, m machine, rounds int, command string) error {
	var b bytes.Buffer
	fmt.Fprintf(&b, "# Benchmarks of fulloncache, %s\n\n", m.date.Format("2006-01-02"))
	fmt.Fprintf(&b, "- machine: %d cores, %s, client and server share the cores, loopback TCP\n- Go %s, Redis %s, commit %s\n- load average at start and end: %s; %s (the run itself is about 2; more is other work on the machine)\n- command: `%s`; %d rounds, peers in turn within each; the ratio is the median over the rounds of ours to the peer's figure, ± their median deviation, the extremes in brackets; the peer is the fastest of those tried\n\n",
		m.cores, m.cpu, m.goVersion, m.redis, m.commit, m.load, load(), command, rounds)
	b.WriteString("| work | fulloncache | peer | peer is | ratio | limit | | |\n| --- | --- | --- | --- | --- | --- | --- | --- |\n")
	for _, l := range r.rows {
		fmt.Fprintf(&b, "| %s | %s | %s | %s | %s | %s | %s | %s |\n", l.work, l.ours, dash(l.peer), dash(l.peerName), l.ratio, l.limit, verdict(l.ok), l.note)
	}
	if len(r.hits) > 0 {
		b.WriteString("\nSingle-value hits, each timed with the clock's own cost included:\n\n| cache | latency | limit | |\n| --- | --- | --- | --- |\n")
		for _, l := range r.hits {
			fmt.Fprintf(&b, "| %s | %s | %s | %s |\n", l.work, l.ours, l.limit, verdict(l.ok))
		}
	}
	b.WriteString("\nThe predecessor, on a machine of this kind on another day (times drift; ratios of one run are what counts):\n\n" + predecessor)
	_, err := w.Write(b.Bytes())
	return err
}

func dash(s string) string {
	if s == "" {
		return "–"
	}
	return s
}

// machine is what the figures were measured on.
type machine struct {
	date                          time.Time
	cores                         int
	cpu, goVersion, redis, commit string
	load                          string // at the start
}

func thisMachine() machine {
	m := machine{date: time.Now().UTC(), cores: runtime.NumCPU(), cpu: runtime.GOARCH, goVersion: strings.TrimPrefix(runtime.Version(), "go"), redis: "?", commit: "unknown", load: load()}
	if info, err := os.ReadFile("/proc/cpuinfo"); err == nil {
		for line := range strings.Lines(string(info)) {
			if name, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(name) == "model name" {
				m.cpu = strings.TrimSpace(value)
				break
			}
		}
	}
	if out, err := exec.Command("redis-server", "--version").Output(); err == nil {
		for word := range strings.FieldsSeq(string(out)) {
			if v, ok := strings.CutPrefix(word, "v="); ok {
				m.redis = v
			}
		}
	}
	if out, err := exec.Command("git", "rev-parse", "--short", "HEAD").Output(); err == nil {
		m.commit = strings.TrimSpace(string(out))
	}
	return m
}

// save keeps the report by date and commit, and as the latest.
func (r *report) save(dir string, m machine, text []byte) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	for _, name := range []string{m.date.Format("2006-01-02") + "-" + m.commit + ".md", "latest.md"} {
		if err := os.WriteFile(filepath.Join(dir, name), text, 0o644); err != nil {
			return err
		}
	}
	return nil
}

// load is the load average, of a minute.
func load() string {
	text, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return "unknown"
	}
	first, _, _ := strings.Cut(string(text), " ")
	return first
}
