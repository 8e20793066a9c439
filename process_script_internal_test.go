package fulloncache

import (
	"maps"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/redis/rueidis"

	"github.com/fullon/fulloncache/internal/kv"
	"github.com/fullon/fulloncache/internal/testenv"
)

// processDesk is a server with one registered process, whose scripts are run one by
// one: from the outside, what one heartbeat does cannot be told from what the next
// puts right.
type processDesk struct {
	*testing.T
	c *Client
	h *ProcessHandle
}

// The keys of a process, in the order of processKeys.
const (
	ofProcess = iota
	ofProcesses
	ofDue
	ofComponents
	ofRev
	ofComponent
	ofHistory
)

func newProcessDesk(t *testing.T) *processDesk {
	t.Parallel()
	c := newClient(t)
	d := &processDesk{T: t, c: c}
	d.h = newProcessHandle(c.Processes, Process{
		Type: ProcessBot, Component: "bot_1", ID: "1", Status: ProcessRunning, Interval: 20 * time.Second, Host: "moon", PID: 7,
	})
	if code, _, err := d.h.register(testenv.Context(t), d.h.p, 1); code != 1 || err != nil {
		t.Fatal(code, err)
	}
	return d
}

// do runs a command on one of the keys.
func (d *processDesk) do(command string, key int, args ...string) *rueidis.RedisMessage {
	d.Helper()
	msg, err := d.c.kv.Do(testenv.Context(d), d.c.kv.B().Arbitrary(command).Keys(d.h.keys[key]).Args(args...).Build())
	if err != nil && !rueidis.IsRedisNil(err) {
		d.Fatal(command, d.h.keys[key], err)
	}
	return &msg
}

// run runs a script, and returns its answer as text.
func (d *processDesk) run(script kv.Script, keys []string, args ...string) string {
	d.Helper()
	msg, err := d.c.kv.Run(testenv.Context(d), script, keys, args)
	if err != nil {
		d.Fatal(script, err)
	}
	return flat(&msg)
}

// flat is an answer as text.
func flat(msg *rueidis.RedisMessage) string {
	if parts, err := msg.ToArray(); err == nil {
		var texts []string
		for _, p := range parts {
			texts = append(texts, flat(&p))
		}
		return strings.Join(texts, " ")
	}
	if n, err := msg.AsInt64(); err == nil {
		return strconv.FormatInt(n, 10)
	}
	text, _ := msg.ToString() // nil is nothing
	return text
}

func (d *processDesk) alive(instance string, seq int) string {
	d.Helper()
	return d.run(kv.ProcessAlive, d.h.keys[:3], d.h.p.ID, instance, microseconds(silence(d.h.p.Interval)), strconv.Itoa(seq), milliseconds(processTTL))
}

func (d *processDesk) beat(instance string, seq int, stop string, told ...string) string {
	d.Helper()
	args := d.h.args(d.h.p)
	args[1] = instance
	return d.run(kv.ProcessBeat, d.h.keys, slices.Concat(args, []string{strconv.Itoa(seq), stop}, told)...)
}

// die declares the process dead, by who has been in touch for so long.
func (d *processDesk) die(touch time.Duration, intervals string) string {
	d.Helper()
	c := d.c.Processes
	return d.run(kv.ProcessDie, d.h.keys, slices.Concat([]string{d.h.p.ID, microseconds(touch), intervals}, c.channels(ProcessBot), c.history())...)
}

// state is all that is stored of the process, by name.
func (d *processDesk) state() map[string]string {
	d.Helper()
	s := map[string]string{
		"at": flat(d.do("ZSCORE", ofProcesses, "1")), "due": flat(d.do("ZSCORE", ofDue, "1")), "since": flat(d.do("ZSCORE", ofComponent, "1")),
		"component": flat(d.do("HGET", ofComponents, "1")), "revision": flat(d.do("GET", ofRev)),
		"expires": flat(d.do("EXPIRETIME", ofProcess)), "history expires": flat(d.do("EXPIRETIME", ofHistory)),
	}
	if kind, _ := d.do("TYPE", ofProcess).ToString(); kind == "hash" {
		fields, err := d.do("HGETALL", ofProcess).AsStrMap()
		if err != nil {
			d.Fatal(err)
		}
		for name, value := range fields {
			s["."+name] = value
		}
	}
	records, err := d.do("LRANGE", ofHistory, "0", "-1").AsStrSlice()
	if err != nil {
		d.Fatal(err)
	}
	for _, r := range records {
		_, change, _ := strings.Cut(r, `"change":"`)
		change, _, _ = strings.Cut(change, `"`)
		s["history"] += change + " "
	}
	for name, value := range s {
		if value == "" && name[0] != '.' {
			delete(s, name)
		}
	}
	return s
}

// later stands for a value that is greater than it was, as times and revisions are.
const later = "later"

// changed compares what is stored with what was, and names all that may differ; "" is
// what is gone.
func (d *processDesk) changed(before, want map[string]string) {
	d.Helper()
	after := d.state()
	expected := maps.Clone(before)
	for name, value := range want {
		switch {
		case value == later && after[name] > before[name] && len(after[name]) >= len(before[name]):
			expected[name] = after[name]
		case value == "":
			delete(expected, name)
		default:
			expected[name] = value
		}
	}
	for _, name := range slices.Sorted(maps.Keys(mergedNames(expected, after))) {
		if expected[name] != after[name] {
			d.Errorf("%s: got %q, want %q (it was %q)", name, after[name], expected[name], before[name])
		}
	}
	if want[".heartbeat"] == later {
		d.agrees(after)
	}
}

func mergedNames(a, b map[string]string) map[string]string {
	all := maps.Clone(a)
	maps.Copy(all, b)
	return all
}

// micros reads a time.
func (d *processDesk) micros(s map[string]string, name string) int64 {
	d.Helper()
	at, err := time.Parse(time.RFC3339Nano, s[name])
	if err != nil {
		d.Error(name, err)
	}
	return at.UnixMicro()
}

// agrees checks that the scores are what the fields say.
func (d *processDesk) agrees(s map[string]string) {
	d.Helper()
	score := func(name string, want int64) {
		d.Helper()
		if s[name] != "" && s[name] != strconv.FormatInt(want, 10) {
			d.Errorf("%s is %s, want %d", name, s[name], want)
		}
	}
	score("at", d.micros(s, ".heartbeat"))
	score("due", d.micros(s, ".heartbeat")+silence(d.h.p.Interval).Microseconds())
	score("since", d.micros(s, ".started"))
}

// before sets expiries that a write must prolong, and returns what is stored then.
func (d *processDesk) before() map[string]string {
	d.Helper()
	d.do("EXPIRE", ofProcess, "100")
	d.do("EXPIRE", ofHistory, "100")
	return d.state()
}

// told are the messages that those who watch processes were told.
func (d *processDesk) told(do func()) []string {
	d.Helper()
	return toldOn(d, d.c.Processes.channels(ProcessBot)[1:], do)
}

// nothing checks that a script refuses, and changes nothing.
func (d *processDesk) nothing(what, want string, do func() string) {
	d.Helper()
	before := d.before()
	var got string
	if told := d.told(func() { got = do() }); len(told) != 0 {
		d.Errorf("%s: told %q", what, told)
	}
	if got != want {
		d.Errorf("%s: got %q, want %q", what, got, want)
	}
	d.changed(before, nil)
}

// What fails on a key of another type leaves all as it was.
func TestProcessScriptsFailAsAWhole(t *testing.T) {
	d := newProcessDesk(t)
	c, id := d.c.Processes, d.h.p.ID
	told := func(seq int, stop, status string) []string {
		return slices.Concat(d.h.args(d.h.p), []string{strconv.Itoa(seq), stop, "status", status})
	}
	all := []int{ofProcesses, ofDue, ofComponents, ofRev, ofComponent, ofHistory}
	for _, run := range []struct {
		script kv.Script
		args   []string
		keys   []int
		ready  func()
	}{
		{kv.ProcessRegister, slices.Concat(d.h.args(d.h.p), d.h.p.told()), all, func() {}},
		{kv.ProcessBeat, told(2, "", "error"), all, func() {}},
		{kv.ProcessBeat, told(2, "stop", "stopped"), all, func() {}},
		{kv.ProcessDie, slices.Concat([]string{id, microseconds(time.Hour), "0"}, c.channels(ProcessBot), c.history()), all, func() { d.do("ZADD", ofDue, "1", id) }},
		{kv.ProcessForget, slices.Concat([]string{id, "0"}, c.channels(ProcessBot)), all[:len(all)-1], func() { d.do("ZREM", ofDue, id) }},
	} {
		run.ready()
		for _, key := range run.keys {
			d.spoiled(key, func() {
				before := d.dumps()
				_, err := d.c.kv.Run(testenv.Context(t), run.script, d.h.keys, run.args)
				if !kv.IsWrongType(err) {
					t.Errorf("%s, %s: got %v", run.script, d.h.keys[key], err)
				}
				if after := d.dumps(); !slices.Equal(after, before) {
					t.Errorf("%s, %s: something was changed", run.script, d.h.keys[key])
				}
			})
		}
	}
}

// spoiled does something while a key is of another type.
func (d *processDesk) spoiled(key int, do func()) {
	d.Helper()
	kept := flat(d.do("DUMP", key))
	d.do("DEL", key)
	if key == ofRev {
		d.do("LPUSH", key, "x")
	} else {
		d.do("SET", key, "x")
	}
	do()
	d.do("DEL", key)
	if kept != "" {
		d.do("RESTORE", key, "0", kept)
	}
}

// dumps are what all keys hold.
func (d *processDesk) dumps() (texts []string) {
	d.Helper()
	for key := range d.h.keys {
		texts = append(texts, flat(d.do("DUMP", key)))
	}
	return texts
}

// A heartbeat that has nothing to tell is recorded, unless there is more to do: that
// is left to process_beat.
func TestProcessAliveRecords(t *testing.T) {
	d := newProcessDesk(t)
	for _, seq := range []int{2, 3, 3} { // sent twice
		before := d.before()
		if got := d.alive(d.h.instance, seq); got != "1" {
			d.Errorf("write %d: got %s", seq, got)
		}
		d.changed(before, map[string]string{".seq": strconv.Itoa(seq), ".heartbeat": later, "at": later, "due": later, "expires": later})
	}
	refuses := func(what string) {
		d.Helper()
		d.nothing(what, "0", func() string { return d.alive(d.h.instance, 4) })
	}
	d.nothing("another instance", "0", func() string { return d.alive("another", 4) })
	d.nothing("a late one", "0", func() string { return d.alive(d.h.instance, 2) })
	d.do("HSET", ofProcess, "died", "x")
	refuses("it counts as dead")
	d.do("HDEL", ofProcess, "died")
	d.do("HSET", ofProcess, "seq", "x")
	refuses("a number that cannot be read")
	d.do("HSET", ofProcess, "seq", "3")
	d.do("ZADD", ofDue, "1", "another")
	refuses("another counts as dead")
	d.do("DEL", ofDue)
	refuses("nobody is looked after")
	d.do("DEL", ofProcess)
	refuses("it is gone")
	d.do("SET", ofProcess, "x")
	refuses("it is of another type")
}

// A whole heartbeat puts right what is missing, and tells what has changed.
func TestProcessBeatRecords(t *testing.T) {
	d := newProcessDesk(t)
	me := d.h.instance
	beat := func(what, stop string, wantTold int, want map[string]string, changes ...string) {
		d.Helper()
		before := d.before()
		seq, _ := strconv.Atoi(before[".seq"])
		want = mergedNames(map[string]string{".seq": strconv.Itoa(seq + 1), ".heartbeat": later, "at": later, "due": later, "expires": later}, want)
		if len(changes) > 0 {
			want[".updated"] = later
		}
		if wantTold > 0 {
			want["revision"], want[".rev"] = later, later
		}
		if _, ok := want["history"]; ok {
			want["history expires"] = later
		}
		var got string
		told := d.told(func() { got = d.beat(me, seq+1, stop, changes...) })
		if got != "1 0" {
			d.Errorf("%s: got %q", what, got)
		}
		d.changed(before, want)
		if len(told) != wantTold || wantTold > 0 && !strings.HasPrefix(told[0], "P "+d.state()[".rev"]+" ") {
			d.Errorf("%s: told %q", what, told)
		}
	}
	beat("nothing to tell", "", 0, nil)
	beat("a message", "", 0, map[string]string{".message": "x"}, "message", "x")
	beat("the same status", "", 0, nil, "status", "running")
	beat("another status", "", 0, map[string]string{".status": "error", "history": "changed started "}, "status", "error")
	d.do("ZREM", ofProcesses, "1")
	d.do("HDEL", ofComponents, "1")
	d.do("ZREM", ofComponent, "1")
	since := strconv.FormatInt(d.micros(d.state(), ".started"), 10)
	beat("indexes were lost", "", 0, map[string]string{"component": "bot_1", "since": since})
	d.do("HSET", ofProcess, "died", "x")
	beat("it counted as dead", "", 0, map[string]string{".died": "", "history": "started changed started "})
	d.do("ZADD", ofDue, "1", "1")
	beat("nobody has declared it dead yet", "", 1, nil)
	d.do("ZREM", ofDue, "1")
	beat("nobody looks after it", "", 1, nil)

	d.nothing("another instance", "2 "+d.state()[".started"], func() string { return d.beat("another", 100, "") })
	d.nothing("a late one", "1 0", func() string { return d.beat(me, 2, "") })
	for what, overdue := range map[string]struct {
		key  int
		want string
		ago  time.Duration
	}{
		"another has been silent for long":     {ofDue, "1 1", silence(d.h.p.Interval) + time.Second},
		"another has been silent not for long": {ofDue, "1 0", silence(d.h.p.Interval) - 15*time.Second},
		"another is over":                      {ofProcesses, "1 1", processTTL + time.Minute},
		"another is old":                       {ofProcesses, "1 0", processTTL - time.Minute},
	} {
		d.do("ZADD", overdue.key, strconv.FormatInt(time.Now().Add(-overdue.ago).UnixMicro(), 10), "another")
		if got := d.beat(me, 50, ""); got != overdue.want {
			d.Errorf("%s: got %q", what, got)
		}
		d.do("ZREM", overdue.key, "another")
	}

	beat("it stops", "stop", 1, map[string]string{".status": "stopped", "due": "", "since": "", "history": "stopped started changed started "}, "status", "stopped")
	beat("it stops again", "stop", 1, map[string]string{"due": "", "since": ""}, "status", "stopped")
	d.do("HSET", ofProcess, "died", "x")
	beat("it had been declared dead", "stop", 1, map[string]string{".died": "", "due": "", "since": ""}, "status", "stopped")

	unknown := func(what string) {
		d.Helper()
		d.nothing(what, "0 0", func() string { return d.beat(me, 100, "") })
	}
	d.do("HDEL", ofProcess, "seq")
	unknown("no number")
	d.do("DEL", ofProcess)
	unknown("gone")
	d.do("SET", ofProcess, "x")
	unknown("no hash")
}

// Who is silent for too long is declared dead, once.
func TestProcessDieDeclares(t *testing.T) {
	d := newProcessDesk(t)
	in := func(due time.Duration) {
		d.do("ZADD", ofDue, strconv.FormatInt(time.Now().Add(due).UnixMicro(), 10), "1")
	}
	waits := func(what string, least, most time.Duration, touch time.Duration, intervals string) {
		d.Helper()
		before := d.before()
		got := d.die(touch, intervals)
		wait, ok := strings.CutPrefix(got, "0 ")
		micros, err := strconv.ParseInt(wait, 10, 64)
		if w := time.Duration(micros) * time.Microsecond; !ok || err != nil || w > most || w < least {
			d.Errorf("%s: got %q", what, got)
		}
		d.changed(before, map[string]string{"due": before["due"]})
	}
	long := time.Hour
	waits("it lives", 30*time.Second, 35*time.Second, long, "0")
	in(-10 * time.Second)
	waits("it gets an interval beyond", time.Second, 10*time.Second, long, "1")
	waits("who asks has just come", time.Second, 20*time.Second, 0, "0")

	before := d.before()
	var got string
	told := d.told(func() { got = d.die(long, "0") })
	if !strings.HasPrefix(got, "1 ") || !strings.Contains(got, "host moon") || !strings.Contains(got, "died ") {
		t.Errorf("got %q", got)
	}
	d.changed(before, map[string]string{
		".died": later, "due": "", "since": "", "history": "died started ", "history expires": later, "revision": later, ".rev": later,
	})
	if len(told) != 1 || !strings.HasPrefix(told[0], "P "+d.state()[".rev"]+" ") || !strings.Contains(told[0], "4:died") {
		t.Errorf("told %q", told)
	}
	d.nothing("it is dead", "2 ", func() string { return d.die(long, "0") })

	// What cannot be read is told as gone, and is still listed while it is there.
	gone := func(what string, want map[string]string) {
		d.Helper()
		in(-10 * time.Second)
		before := d.before()
		told := d.told(func() { got = d.die(0, "1") })
		if got != "2 " {
			d.Errorf("%s: got %q", what, got)
		}
		d.changed(before, mergedNames(map[string]string{"due": "", "since": "", "revision": later}, want))
		if len(told) != 1 || told[0] != "D "+d.state()["revision"]+" 1" {
			d.Errorf("%s: told %q", what, told)
		}
	}
	d.do("DEL", ofProcess)
	d.do("SET", ofProcess, "x")
	d.do("ZADD", ofComponent, "1", "1")
	gone("a text", nil)
	d.do("DEL", ofProcess)
	gone("nothing", map[string]string{"at": "", "component": ""})
}

// Who is silent and what is over are told apart, with the next of those who live.
func TestProcessDueTells(t *testing.T) {
	d := newProcessDesk(t)
	at := func(ago time.Duration) string { return strconv.FormatInt(time.Now().Add(-ago).UnixMicro(), 10) }
	d.do("ZADD", ofDue, at(time.Minute), "silent", at(2*time.Minute), "longer", at(-10*time.Second), "next")
	d.do("ZADD", ofProcesses, at(processTTL+time.Minute), "over", at(processTTL-time.Minute), "old")
	d.do("HSET", ofComponents, "silent", "bot_2", "over", "bot_3")
	due := func(most string) string {
		return d.run(kv.ProcessDue, []string{d.h.keys[ofDue], d.h.keys[ofProcesses], d.h.keys[ofComponents]}, microseconds(processTTL), most)
	}
	next, rest, _ := strings.Cut(due("10"), " ")
	micros, err := strconv.ParseInt(next, 10, 64)
	if w := time.Duration(micros) * time.Microsecond; err != nil || w > 10*time.Second || w < time.Second || rest != "longer  silent bot_2 over bot_3" {
		t.Errorf("next %q, %q", next, rest)
	}
	if _, rest, _ = strings.Cut(due("1"), " "); rest != "longer  over bot_3" {
		t.Errorf("one of each: %q", rest)
	}
	d.do("DEL", ofDue)
	if got := due("10"); got != "  over bot_3" {
		t.Errorf("nobody is looked after: %q", got)
	}
}

// Who is dead or stopped, and was silent for long enough, is forgotten, and that is
// told.
func TestProcessForgetForgets(t *testing.T) {
	d := newProcessDesk(t)
	forget := func(silent time.Duration) string {
		return d.run(kv.ProcessForget, d.h.keys, slices.Concat([]string{"1", microseconds(silent)}, d.c.Processes.channels(ProcessBot))...)
	}
	d.nothing("it lives", "0", func() string { return forget(0) })
	d.do("ZREM", ofDue, "1")
	d.nothing("it was heard of", "0", func() string { return forget(time.Minute) })
	before := d.before()
	var got string
	told := d.told(func() { got = forget(0) })
	want := map[string]string{"at": "", "since": "", "component": "", "expires": "-2", "revision": later}
	for name := range before {
		if name[0] == '.' {
			want[name] = ""
		}
	}
	d.changed(before, want)
	if got != "1" || len(told) != 1 || told[0] != "D "+d.state()["revision"]+" 1" {
		t.Errorf("got %q, told %q", got, told)
	}
	d.nothing("it is gone", "0", func() string { return forget(0) })
}

// A registration replaces what was there, unless that is of one that came later.
func TestProcessRegisterRecords(t *testing.T) {
	d := newProcessDesk(t)
	ctx := testenv.Context(t)
	first := d.state()
	want := map[string]string{
		".instance": d.h.instance, ".component": "bot_1", ".process_id": "1", ".process_type": "bot", ".status": "running", ".message": "",
		".params": paramsText(nil), ".host": "moon", ".pid": "7", ".interval": "20000000", ".seq": "1", "component": "bot_1", "history": "started ",
	}
	for _, same := range []string{".started", ".updated", ".heartbeat", ".rev", "at", "due", "since", "revision", "expires", "history expires"} {
		want[same] = first[same]
	}
	if !maps.Equal(first, want) || first[".started"] != first[".heartbeat"] || first[".rev"] != first["revision"] {
		t.Errorf("got %q, want %q", first, want)
	}
	d.agrees(first)

	// The same anew, after it was lost in part.
	d.do("HSET", ofProcess, "died", "x", "odd", "y")
	d.do("ZREM", ofDue, "1")
	before := d.before()
	told := d.told(func() {
		if code, _, err := d.h.register(ctx, d.h.p, 9); code != 1 || err != nil {
			t.Error(code, err)
		}
	})
	d.changed(before, map[string]string{
		".died": "", ".odd": "", ".seq": "9", ".updated": later, ".heartbeat": later, "at": later, "due": d.state()["due"], "expires": later,
		".rev": later, "revision": later,
	})
	if len(told) != 1 || !strings.HasPrefix(told[0], "P ") {
		t.Errorf("told %q", told)
	}

	// Another instance that started later has the id; who started before does not get
	// it back.
	second := newProcessHandle(d.c.Processes, d.h.p)
	before = d.before()
	if code, _, err := second.register(ctx, d.h.p, 1); code != 1 || err != nil {
		t.Error(code, err)
	}
	d.changed(before, map[string]string{
		".instance": second.instance, ".started": later, ".seq": "1", ".updated": later, ".heartbeat": later, "at": later, "due": later, "since": later,
		"expires": later, ".rev": later, "revision": later, "history": "started started ", "history expires": later,
	})
	d.nothing("an older instance", "2 "+d.state()[".started"], func() string {
		code, detail, err := d.h.register(ctx, d.h.p, 10)
		if err != nil {
			t.Error(err)
		}
		return strconv.FormatInt(code, 10) + " " + detail
	})
	elsewhere := d.h.p
	elsewhere.Component = "bot_2"
	d.nothing("another component", "3 bot_1", func() string {
		h := newProcessHandle(d.c.Processes, elsewhere)
		code, detail, err := h.register(ctx, elsewhere, 1)
		if err != nil {
			t.Error(err)
		}
		return strconv.FormatInt(code, 10) + " " + detail
	})

	// Who had to be forgotten begins the revisions anew, and says so.
	d.do("DEL", ofRev)
	told = d.told(func() {
		if code, _, err := second.register(ctx, second.p, 2); code != 1 || err != nil {
			t.Error(code, err)
		}
	})
	if len(told) != 2 || !strings.HasPrefix(told[0], "R ") || !strings.HasPrefix(told[1], "P "+told[0][2:]+" ") {
		t.Errorf("told %q", told)
	}
}

// Of a history, the newest are kept.
func TestProcessHistoryKeepsTheNewest(t *testing.T) {
	d := newProcessDesk(t)
	d.c.Processes.historyCap = "2"
	for i, status := range []string{"idle", "error", "idle"} {
		d.beat(d.h.instance, 2+i, "", "status", status)
	}
	records, err := d.do("LRANGE", ofHistory, "0", "-1").AsStrSlice()
	if err != nil || len(records) != 2 || !strings.Contains(records[0], "idle") || !strings.Contains(records[1], "error") {
		t.Errorf("got %q, %v", records, err)
	}
	for _, part := range []string{`"process_id":"1"`, `"host":"moon"`, `"pid":7`, `"message":""`, `"time":"` + d.state()[".updated"] + `"`} {
		if !strings.Contains(records[0], part) {
			t.Errorf("%s is not in %s", part, records[0])
		}
	}
}
