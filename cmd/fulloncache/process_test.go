package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	tea "charm.land/bubbletea/v2"

	"github.com/fullon/fulloncache"
	"github.com/fullon/fulloncache/internal/testenv"
)

// open connects as the command does.
func (s *shell) open() *fulloncache.Client {
	s.Helper()
	cfg, err := fulloncache.ConfigFromEnv()
	if err != nil {
		s.Fatal(err)
	}
	c, err := fulloncache.New(s.ctx, cfg)
	if err != nil {
		s.Fatal(err)
	}
	s.Cleanup(c.Close)
	return c
}

func (s *shell) register(c *fulloncache.Client, p fulloncache.Process) *fulloncache.ProcessHandle {
	s.Helper()
	h, err := c.Processes.Register(s.ctx, p)
	if err != nil {
		s.Fatal(err)
	}
	return h
}

func jsonLines[T any](t *testing.T, text string) (all []T) {
	t.Helper()
	for line := range strings.Lines(text) {
		all = append(all, decode[T](t, line))
	}
	return all
}

func TestProcessCommands(t *testing.T) {
	s := newShell(t)
	if out, _ := s.call(0, "", "process", "list"); strings.Count(out, "\n") != 1 || !strings.HasPrefix(out, "TYPE") {
		t.Errorf("got %s", out)
	}
	if out, _ := s.call(0, "", "process", "health"); !strings.Contains(out, "healthy   yes") || !strings.Contains(out, "types     none") {
		t.Errorf("got %s", out)
	}
	c := s.open()
	bot := s.register(c, fulloncache.Process{Type: fulloncache.ProcessBot, Component: "bot_1", Host: "moon", PID: 7, Message: "3 feeds\nmore"})
	over := s.register(c, fulloncache.Process{Type: fulloncache.ProcessTick, Component: "kraken"})
	if err := over.Stop(s.ctx, ""); err != nil {
		t.Fatal(err)
	}
	out, _ := s.call(0, "", "process", "list", "--json")
	p := decode[map[string]any](t, out)
	for field, want := range map[string]any{
		"process_type": "bot", "component": "bot_1", "process_id": bot.ID(), "status": "starting", "message": "3 feeds\nmore", "host": "moon",
		"pid": 7.0, "alive": true, "died": nil, "params": nil, "interval_ns": 1.5e10,
	} {
		if p[field] != want {
			t.Errorf("%s is %v, want %v", field, p[field], want)
		}
	}
	out, _ = s.call(0, "", "process", "list", "--all")
	if lines := strings.Split(out, "\n"); len(lines) != 4 || !strings.Contains(out, "3 feeds…") || !strings.Contains(out, "stopped") {
		t.Errorf("got %s", out)
	}
	for filter, want := range map[string]int{"--type=tick": 1, "--component=bot_1": 1, "--since=1h": 2, "--type=crawler": 0} {
		out, _ := s.call(0, "", "process", "list", "--all", "--json", filter)
		if got := strings.Count(out, "\n"); got != want {
			t.Errorf("%s: %d processes, want %d: %s", filter, got, want, out)
		}
	}
	h := decode[fulloncache.SystemHealth](t, first(s.call(0, "", "process", "health", "--json")))
	if !h.Healthy || h.Total != 2 || h.Alive != 1 || h.Types["bot"] != 1 || h.Statuses["stopped"] != 1 {
		t.Errorf("got %+v", h)
	}
	if err := bot.Update(s.ctx, fulloncache.ProcessError, "no answer", nil); err != nil {
		t.Fatal(err)
	}
	out, errs := s.call(exitError, "", "process", "health")
	if !strings.Contains(out, "healthy   no") || !strings.Contains(out, "bot bot_1") || !strings.Contains(out, "in error: no answer") ||
		!strings.Contains(errs, "not healthy: 1 alive, 0 stale, 1 in error") {
		t.Errorf("%s%s", out, errs)
	}
	out, _ = s.call(exitError, "", "process", "health", "--json")
	if h := decode[fulloncache.SystemHealth](t, out); h.Healthy || len(h.Failed) != 1 || h.Failed[0].Message != "no answer" {
		t.Errorf("got %+v", h)
	}
	if out, _ := s.call(0, "", "process", "cleanup"); out != "0 forgotten\n" {
		t.Errorf("got %s", out)
	}
	if out, _ := s.call(0, "", "process", "cleanup", "--older-than", "0s", "--json"); out != `{"forgotten":1}`+"\n" {
		t.Errorf("got %s", out)
	}
	// What cannot be read does not hide the others, and is not healthy.
	testenv.Redis(t).Do(t, "HSET", prefix()+":process:bot:"+bot.ID(), "pid", "x")
	s.register(c, fulloncache.Process{Type: fulloncache.ProcessBot, Component: "bot_2"})
	out, errs = s.call(exitError, "", "process", "list", "--json")
	if decode[fulloncache.Process](t, out).Component != "bot_2" || !strings.Contains(errs, `field "pid"`) || !strings.Contains(errs, "1 processes could not be listed") {
		t.Errorf("%s%s", out, errs)
	}
	out, errs = s.call(exitError, "", "process", "health", "--json")
	if h := decode[fulloncache.SystemHealth](t, out); h.Healthy || h.Total != 1 || !strings.Contains(errs, `field "pid"`) {
		t.Errorf("%s%s", out, errs)
	}
}

// A process that vanished is stale until it is cleaned up.
func TestProcessCommandsAfterACrash(t *testing.T) {
	s := newShell(t)
	crashing := s.open()
	s.register(crashing, fulloncache.Process{Type: fulloncache.ProcessBot, Component: "bot_1", Interval: 100 * time.Millisecond, Message: "3 feeds"})
	crashing.Close()
	testenv.Eventually(t, "stale", func() (bool, string) {
		out, _ := s.call2("process", "health")
		return strings.Contains(out, "0 alive, 1 stale") && strings.Contains(out, "it was starting: 3 feeds"), out
	})
	if out, _ := s.call(0, "", "process", "list"); strings.Count(out, "\n") != 1 {
		t.Errorf("a dead process is listed as alive: %s", out)
	}
	if out, _ := s.call(0, "", "process", "list", "--all"); !strings.Contains(out, "stale") {
		t.Errorf("got %s", out)
	}
	if out, _ := s.call(0, "", "process", "cleanup", "--older-than", "0s"); out != "1 forgotten\n" {
		t.Errorf("got %s", out)
	}
	s.call(0, "", "process", "health")
	out, _ := s.call(0, "", "error", "list", "--json")
	if e := decode[fulloncache.GlobalError](t, out); e.Component != "bot_1" || !strings.Contains(e.Message, "died") {
		t.Errorf("got %+v", e)
	}
}

// call2 is call whatever the exit code.
func (s *shell) call2(args ...string) (stdout string, code int) {
	var out, errs bytes.Buffer
	code = run(s.ctx, args, strings.NewReader(""), &out, &errs)
	return out.String(), code
}

func TestErrorCommands(t *testing.T) {
	s := newShell(t)
	if out, _ := s.call(0, "", "error", "list"); strings.Count(out, "\n") != 1 {
		t.Errorf("got %s", out)
	}
	_, errs := s.call(exitError, "", "error", "pop")
	if !strings.Contains(errs, "not found") {
		t.Errorf("got %s", errs)
	}
	if out, _ := s.call(0, "", "error", "push", "bot_1", "out of margin"); !strings.Contains(out, "bot_1  out of margin") {
		t.Errorf("got %s", out)
	}
	pushed := decode[fulloncache.GlobalError](t, first(s.call(0, "", "error", "push", "deployment", "restart", "--json")))
	if pushed.Component != "deployment" || time.Since(pushed.Time) > time.Minute {
		t.Errorf("got %+v", pushed)
	}
	for range 2 { // listing takes nothing
		all := jsonLines[fulloncache.GlobalError](t, first(s.call(0, "", "error", "list", "--json")))
		if len(all) != 2 || all[0].Message != "out of margin" || all[1] != pushed {
			t.Errorf("got %+v", all)
		}
	}
	if out, _ := s.call(0, "", "error", "list"); !strings.Contains(out, "COMPONENT") || !strings.Contains(out, "out of margin") {
		t.Errorf("got %s", out)
	}
	if e := decode[fulloncache.GlobalError](t, first(s.call(0, "", "error", "pop", "--json"))); e.Message != "out of margin" {
		t.Errorf("got %+v", e)
	}
	if out, _ := s.call(0, "", "error", "pop", "--wait", "10s"); !strings.Contains(out, "deployment  restart") {
		t.Errorf("got %s", out)
	}
	_, errs = s.call(exitError, "", "error", "push", "", "x")
	if !strings.Contains(errs, "must not be empty") {
		t.Errorf("got %s", errs)
	}
	testenv.Redis(t).Do(t, "RPUSH", prefix()+":global_error", "garbage", `{"component":"a","message":"b","time":"2026-01-02T03:04:05Z"}`)
	out, errs := s.call(exitError, "", "error", "list", "--json")
	if decode[fulloncache.GlobalError](t, out).Component != "a" || !strings.Contains(errs, "garbage") || !strings.Contains(errs, "1 errors could not be listed") {
		t.Errorf("%s%s", out, errs)
	}
}

func TestProcessMistakes(t *testing.T) {
	s := newShell(t)
	for _, args := range [][]string{
		{"process"}, {"process", "list", "x"}, {"process", "list", "--type", "cook"}, {"process", "list", "--since", "-1s"},
		{"process", "top", "--sort", "age"}, {"process", "top", "--interval", "1ms"}, {"process", "top", "--count", "-1"}, {"process", "top", "--type", "cook"},
		{"process", "cleanup", "--older-than", "-1s"}, {"error"}, {"error", "push", "x"}, {"error", "pop", "--wait", "soon"},
	} {
		if out, errs := s.call(exitUsage, "", args...); out != "" || !strings.Contains(errs, `see "fulloncache help"`) {
			t.Errorf("%v: %q, %q", args, out, errs)
		}
	}
	for _, args := range [][]string{{"process", "list", "--component", "\xff"}, {"error", "pop", "--wait", "-1s"}} {
		s.call(exitError, "", args...)
	}
	for _, args := range [][]string{{"process"}, {"process", "list"}, {"process", "top"}, {"process", "health"}, {"process", "cleanup"}, {"error"}, {"error", "push"}, {"error", "pop"}, {"error", "list"}} {
		if out, _ := s.call(0, "", append(args, "--help")...); !strings.Contains(out, "Examples:") {
			t.Errorf("%v: no examples in the help: %s", args, out)
		}
	}
}

// Where the output is no terminal, top prints each look.
func TestProcessTopLines(t *testing.T) {
	s := newShell(t)
	c := s.open()
	for i := range 3 {
		s.register(c, fulloncache.Process{Type: fulloncache.ProcessBot, Component: fmt.Sprint("bot_", i)})
	}
	for _, args := range [][]string{nil, {"--json", "--reverse"}} {
		out, _ := s.call(0, "", append([]string{"process", "top", "--count", "2", "--interval", "50ms", "--sort", "component"}, args...)...)
		looks := jsonLines[looked](t, out)
		if len(looks) != 2 || len(looks[0].Processes) != 3 {
			t.Fatalf("got %s", out)
		}
		for i, p := range looks[1].Processes {
			if want := [...]int{i, 2 - i}[len(args)/2]; p.Component != fmt.Sprint("bot_", want) {
				t.Errorf("%v: process %d is %s", args, i, p.Component)
			}
		}
	}
	// It ends when it is interrupted.
	ctx, cancel := context.WithCancel(s.ctx)
	defer cancel()
	var errs bytes.Buffer
	out := interrupter{at: "bot_2", interrupt: cancel}
	if code := run(ctx, []string{"process", "top"}, nil, &out, &errs); code != 0 || !strings.Contains(out.String(), "bot_2") {
		t.Errorf("exit code %d: %s%s", code, &out, &errs)
	}
	testenv.Redis(t).Do(t, "SET", prefix()+":processes:tick", "x")
	text, warned := s.call(exitError, "", "process", "top", "--count", "1")
	if l := decode[looked](t, text); len(l.Processes) != 3 || !strings.Contains(warned, "processes:tick") {
		t.Errorf("%s%s", text, warned)
	}
}

// interrupter interrupts once a text was written.
type interrupter struct {
	bytes.Buffer
	at        string
	interrupt func()
}

func (w *interrupter) Write(p []byte) (int, error) {
	n, err := w.Buffer.Write(p)
	if strings.Contains(w.String(), w.at) {
		w.interrupt()
	}
	return n, err
}

// The live view: what it shows, sorts, hides and scrolls.
func TestProcessTopView(t *testing.T) {
	t.Parallel()
	now := time.Now()
	process := func(kind fulloncache.ProcessType, component string, status fulloncache.ProcessStatus, age time.Duration) fulloncache.Process {
		return fulloncache.Process{
			Type: kind, Component: component, ID: component, Status: status, Host: "moon", PID: 7, Interval: 10 * time.Second,
			Started: now.Add(-time.Hour), Heartbeat: now.Add(-age), Age: age, Alive: status != fulloncache.ProcessStopped && age < 17*time.Second,
		}
	}
	looks := 0
	var v tea.Model = topView{every: time.Second, column: 2, width: 120, height: 10, left: 3, look: func() looked {
		looks++
		return looked{Time: now, Processes: []fulloncache.Process{
			process("tick", "kraken", fulloncache.ProcessRunning, time.Second), process("bot", "bot_1", fulloncache.ProcessIdle, 2*time.Second),
			process("bot", "bot_2", fulloncache.ProcessError, 3*time.Second), process("bot", "bot_3", fulloncache.ProcessRunning, time.Minute),
			process("bot", "bot_4", fulloncache.ProcessStopped, time.Hour),
		}}
	}}
	text := func() string { return v.View().Content }
	order := func(want ...string) {
		t.Helper()
		at := -1
		for _, w := range want {
			next := strings.Index(text(), w)
			if next <= at {
				t.Fatalf("want %v in:\n%s", want, text())
			}
			at = next
		}
	}
	step := func(msg tea.Msg) tea.Cmd {
		var cmd tea.Cmd
		v, cmd = v.Update(msg)
		return cmd
	}
	press := func(key string) tea.Cmd {
		r := []rune(key)
		if len(r) == 1 {
			return step(tea.KeyPressMsg{Code: r[0], Text: key})
		}
		return step(tea.KeyPressMsg{Code: map[string]rune{"down": tea.KeyDown, "up": tea.KeyUp, "pgdown": tea.KeyPgDown, "pgup": tea.KeyPgUp, "esc": tea.KeyEscape}[key]})
	}
	order("looking…")
	if cmd := step(v.Init()()); cmd == nil || looks != 1 {
		t.Fatalf("%d looks", looks)
	}
	// What needs somebody comes first; there is room for three.
	order("5 processes", "1 stale", "1 error", "STATUS ↑", "bot_3", "bot_2", "kraken", "… and 2 more")
	press("s")
	order("STATUS ↓", "bot_4", "bot_1", "kraken")
	press("c")
	order("COMPONENT ↑", "bot_1", "bot_2", "bot_3", "… and 2 more")
	press("down")
	order("bot_2", "bot_3", "bot_4", "… and 1 more")
	press("pgdown")
	press("pgdown")
	order("bot_3", "bot_4", "kraken")
	press("a")
	order("bot_2", "bot_3", "kraken")
	if strings.Contains(text(), "bot_4") {
		t.Errorf("it is hidden:\n%s", text())
	}
	press("k")
	press("j")
	press("pgup")
	press("up")
	press("r")
	order("COMPONENT ↓", "kraken", "bot_3")
	press("h")
	order("HEARD ↑", "kraken", "bot_1", "bot_2")
	press("u")
	order("UP ↑")
	press("x") // nothing
	step(tea.WindowSizeMsg{Width: 40, Height: 100})
	for line := range strings.Lines(text()) {
		if strings.Contains(line, "TYPE") && len([]rune(line)) > 60 {
			t.Errorf("a line of %d characters: %q", len([]rune(line)), line)
		}
	}
	// A look that fails leaves what was there, and says how old it is.
	step(looked{Time: now, err: errors.New("redis unavailable: cut off")})
	order("as of ", "redis unavailable: cut off", "kraken")
	if cmd := step(lookAgain{}); cmd == nil {
		t.Error("it does not look again")
	}
	// The third look is the last.
	if cmd := step(looked{Time: now, Processes: []fulloncache.Process{}}); cmd == nil || cmd() != tea.Quit() {
		t.Error("it does not end")
	}
	for _, key := range []string{"q", "esc"} {
		if cmd := press(key); cmd == nil || cmd() != tea.Quit() {
			t.Errorf("%s does not end it", key)
		}
	}
	v = topView{height: 10, width: 80}
	step(looked{err: errors.New("no server")})
	order("0 processes", "no server")
}

// The whole program, on something like a terminal.
func TestProcessTopProgram(t *testing.T) {
	s := newShell(t)
	c := s.open()
	s.register(c, fulloncache.Process{Type: fulloncache.ProcessBot, Component: "bot_1"})
	v := topView{every: 200 * time.Millisecond, width: 100, height: 20, left: 3, look: func() looked { return lookAt(s.ctx, c, fulloncache.ProcessFilter{}) }}
	var out bytes.Buffer
	if err := v.show(s.ctx, strings.NewReader(""), &out, tea.WithWindowSize(100, 20)); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(out.String(), "bot_1") {
		t.Errorf("got %q", out.String())
	}
	ended, cancel := context.WithCancel(s.ctx)
	cancel()
	if err := v.show(ended, strings.NewReader(""), &out, tea.WithWindowSize(100, 20)); err != nil {
		t.Fatal(err)
	}
}

func TestFirstLine(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"": "", "a": "a", "a\nb": "a…", "a\tb": "a b", strings.Repeat("é", 60): strings.Repeat("é", 60), strings.Repeat("é", 61): strings.Repeat("é", 60) + "…",
	} {
		if got := firstLine(text); got != want {
			t.Errorf("%q becomes %q, want %q", text, got, want)
		}
	}
}

func prefix() string { return os.Getenv("CACHE_KEY_PREFIX") }
