package fulloncache

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// ProcessType is what kind of work a process does.
type ProcessType string

// The types of processes.
const (
	ProcessTick              ProcessType = "tick"
	ProcessOHLCV             ProcessType = "ohlcv"
	ProcessBot               ProcessType = "bot"
	ProcessAccount           ProcessType = "account"
	ProcessOrder             ProcessType = "order"
	ProcessBotStatusService  ProcessType = "bot_status_service"
	ProcessCrawler           ProcessType = "crawler"
	ProcessUserTradesService ProcessType = "user_trades_service"
)

// processTypes are all of them.
var processTypes = [...]ProcessType{
	ProcessTick, ProcessOHLCV, ProcessBot, ProcessAccount, ProcessOrder, ProcessBotStatusService, ProcessCrawler, ProcessUserTradesService,
}

// ProcessTypes returns all types of processes.
func ProcessTypes() []ProcessType { return slices.Clone(processTypes[:]) }

// Validate returns [ErrInvalid] unless there is such a type.
func (t ProcessType) Validate() error {
	if !slices.Contains(processTypes[:], t) {
		return fmt.Errorf("%w: process type %s: want one of %v", ErrInvalid, excerpt(string(t)), processTypes)
	}
	return nil
}

// ProcessStatus is what a process says that it is doing.
type ProcessStatus string

// The statuses of processes.
const (
	ProcessStarting   ProcessStatus = "starting"
	ProcessRunning    ProcessStatus = "running"
	ProcessProcessing ProcessStatus = "processing"
	ProcessIdle       ProcessStatus = "idle"
	ProcessError      ProcessStatus = "error"
	ProcessStopped    ProcessStatus = "stopped"
)

// processStatuses are all of them.
var processStatuses = [...]ProcessStatus{
	ProcessStarting, ProcessRunning, ProcessProcessing, ProcessIdle, ProcessError, ProcessStopped,
}

// Validate returns [ErrInvalid] unless there is such a status.
func (s ProcessStatus) Validate() error {
	if !slices.Contains(processStatuses[:], s) {
		return fmt.Errorf("%w: process status %s: want one of %v", ErrInvalid, excerpt(string(s)), processStatuses)
	}
	return nil
}

// Process is a program, or a part of one, that tells others that it is alive. To
// register one, Type and Component are required; what the registry fills is
// ignored then. Times are the Redis server's, UTC.
type Process struct {
	Type ProcessType `json:"process_type"`
	// Component is what it works for: a bot, an exchange, a symbol. Several
	// processes may be the same component, one after the other or at once.
	Component string `json:"component"`
	// ID is unique among the processes of the type. Defaults to a new random one.
	// Who registers an id anew takes it over.
	ID string `json:"process_id"`
	// Status is what it says that it is doing. Defaults to starting.
	Status  ProcessStatus `json:"status"`
	Message string        `json:"message,omitempty"`
	// Params are what else it tells.
	Params map[string]string `json:"params,omitempty"`
	Host   string            `json:"host,omitempty"` // Host is the machine's name. Defaults to this one's.
	PID    int               `json:"pid,omitempty"`  // PID is the operating system's id. Defaults to this process's.
	// Interval is how often it tells that it is alive. Defaults to
	// [Config].ProcessHeartbeat.
	Interval time.Duration `json:"interval_ns"`

	// What follows the registry fills.

	Started   time.Time `json:"started"`
	Updated   time.Time `json:"updated"`       // Updated is when it last told more than that it is alive.
	Heartbeat time.Time `json:"heartbeat"`     // Heartbeat is when it was last heard of.
	Died      time.Time `json:"died,omitzero"` // Died is when it was declared dead; zero if it was not.
	// Age is how long ago it was last heard of when this was read, by the server's
	// clock.
	Age time.Duration `json:"age_ns"`
	// Alive says that it had not stopped then, and had been heard of in time: within
	// 1¾ intervals.
	Alive bool `json:"alive"`
}

// Stale reports whether the process has vanished: it did not stop, and was not
// heard of in time. Its Status is what it last said.
func (p Process) Stale() bool { return !p.Alive && p.Status != ProcessStopped }

// String returns type, component and id in a line for people.
func (p Process) String() string {
	return string(p.Type) + " " + printable(p.Component) + " (" + printable(p.ID) + ")"
}

const (
	// What intervals are accepted.
	minHeartbeat = 50 * time.Millisecond
	maxHeartbeat = time.Hour
	// Bounds of what a process may tell, in bytes.
	maxProcessMessage = 16 << 10
	maxProcessParams  = 64 << 10
)

// silence is after how long without a heartbeat a process counts as dead. A
// quarter of an interval is left for telling it within two.
func silence(interval time.Duration) time.Duration { return interval * 7 / 4 }

// Validate returns [ErrInvalid], naming the field, unless the process can be
// registered.
func (p Process) Validate() error {
	if err := validProcessName(p.Type, p.ID); err != nil {
		return err
	}
	if err := validComponent(p.Component); err != nil {
		return err
	}
	if err := p.Status.Validate(); err != nil {
		return err
	}
	if err := validText(p, "host", p.Host); err != nil {
		return err
	}
	if p.Interval < minHeartbeat || p.Interval > maxHeartbeat {
		return fmt.Errorf("%w: process %s: interval %s: want from %s to %s", ErrInvalid, p, p.Interval, minHeartbeat, maxHeartbeat)
	}
	return p.validTold()
}

// validTold refuses what no update may tell.
func (p Process) validTold() error {
	if err := validText(p, "message", p.Message); err != nil {
		return err
	}
	if n := len(p.Message); n > maxProcessMessage {
		return fmt.Errorf("%w: process %s: message has %d bytes: want at most %d", ErrInvalid, p, n, maxProcessMessage)
	}
	if err := validParams("process "+p.String(), p.Params); err != nil {
		return err
	}
	if n := len(paramsText(p.Params)); n > maxProcessParams {
		return fmt.Errorf("%w: process %s: params have %d bytes: want at most %d", ErrInvalid, p, n, maxProcessParams)
	}
	return nil
}

// validProcessName refuses what cannot name a process.
func validProcessName(t ProcessType, id string) error {
	if err := t.Validate(); err != nil {
		return err
	}
	return storedName("process id", id)
}

func validComponent(component string) error { return storedName("component", component) }

// paramsText is how Redis holds parameters; none are "".
func paramsText(params map[string]string) string {
	if len(params) == 0 {
		return ""
	}
	text, _ := json.Marshal(params) // texts can be marshalled
	return string(text)
}

// processKey is what identifies a process.
type processKey struct {
	kind ProcessType
	id   string
}

// storedProcess is a process as the cache holds it.
type storedProcess struct {
	Process
	instance string
	rev      int64
}

// told are the fields of a process that updates change, as Redis holds them.
func (p *Process) told() []string {
	return []string{"status", string(p.Status), "message", p.Message, "params", paramsText(p.Params)}
}

// parseProcess reads the fields of a process, as Redis holds them. Fields that it
// does not know are those of a later version.
func parseProcess(key string, fields map[string]string) (s storedProcess, err error) {
	corrupt := func(name string, err error) (storedProcess, error) {
		return storedProcess{}, &CorruptError{Key: key, Field: name, Err: err}
	}
	s = storedProcess{
		Process: Process{
			Type: ProcessType(fields["process_type"]), Component: fields["component"], ID: fields["process_id"],
			Status: ProcessStatus(fields["status"]), Message: fields["message"], Host: fields["host"],
		},
		instance: fields["instance"],
	}
	for _, f := range []struct {
		name string
		err  error
	}{
		{"process_type", s.Type.Validate()}, {"process_id", storedName("process id", s.ID)},
		{"component", validComponent(s.Component)}, {"status", s.Status.Validate()},
	} {
		if f.err != nil {
			return corrupt(f.name, f.err)
		}
	}
	if s.instance == "" {
		return corrupt("instance", errors.New("it is empty"))
	}
	if params := fields["params"]; params != "" {
		if err := json.Unmarshal([]byte(params), &s.Params); err != nil {
			return corrupt("params", err)
		}
	}
	var pid, interval int64
	for _, n := range []number{{"pid", &pid}, {"interval", &interval}, {"rev", &s.rev}} {
		if *n.value, err = strconv.ParseInt(fields[n.name], 10, 64); err != nil {
			return corrupt(n.name, err)
		}
	}
	s.PID, s.Interval = int(pid), time.Duration(interval)*time.Microsecond
	if interval < minHeartbeat.Microseconds() || interval > maxHeartbeat.Microseconds() {
		return corrupt("interval", fmt.Errorf("%d µs: want from %s to %s", interval, minHeartbeat, maxHeartbeat))
	}
	for _, at := range []struct {
		name  string
		value *time.Time
	}{{"started", &s.Started}, {"updated", &s.Updated}, {"heartbeat", &s.Heartbeat}, {"died", &s.Died}} {
		text, there := fields[at.name]
		if !there && at.name == "died" {
			continue
		}
		if *at.value, err = parseTime(text); err != nil {
			return corrupt(at.name, err)
		}
	}
	return s, nil
}

// seen fills what depends on when it was read. A heartbeat may be newer than
// that.
func (p *Process) seen(now time.Time) {
	p.Age = max(now.Sub(p.Heartbeat), 0)
	p.Alive = p.Status != ProcessStopped && p.Died.IsZero() && p.Age <= silence(p.Interval)
}

// ProcessChange is what happened to a process.
type ProcessChange string

// What can happen to a process.
const (
	// ChangeStarted: it registered, or was heard of again after it had been declared
	// dead.
	ChangeStarted ProcessChange = "started"
	// ChangeStopped: it said that it stops.
	ChangeStopped ProcessChange = "stopped"
	// ChangeDied: it was not heard of in time.
	ChangeDied ProcessChange = "died"
	// ChangeStatus: its status changed. Only histories tell it.
	ChangeStatus ProcessChange = "changed"
)

// Messages on the channels of processes, as the scripts write them:
//
//	P rev fields
//	D rev id
//	R rev
//
// Of the fields, each name and value stands behind its length in bytes and a
// colon.
const messageProcess = "P"

// processMessage is a decoded message.
type processMessage struct {
	kind    string
	process storedProcess // of a deletion, only id and rev
}

// readProcessMessage decodes a message; channel names it in errors.
func readProcessMessage(channel, message string) (m processMessage, err error) {
	corrupt := func(what string) (processMessage, error) {
		return processMessage{}, &CorruptError{Key: channel, Err: fmt.Errorf("message %s: %s", excerpt(message), what)}
	}
	kind, rest, _ := strings.Cut(message, " ")
	m.kind = kind
	number, rest, _ := strings.Cut(rest, " ")
	rev, err := strconv.ParseInt(number, 10, 64)
	if err != nil {
		return corrupt("no revision")
	}
	switch kind {
	case messageReset:
		return m, nil
	case messageDeleted:
		m.process.ID, m.process.rev = rest, rev
		return m, nil
	case messageProcess:
	default:
		return corrupt("unknown kind")
	}
	fields, err := countedFields(rest)
	if err != nil {
		return corrupt(err.Error())
	}
	if m.process, err = parseProcess(channel, fields); err == nil && m.process.rev != rev {
		return corrupt("two revisions")
	}
	// It is as it was when the message was written.
	m.process.seen(latest(m.process.Heartbeat, m.process.Died))
	return m, err
}

func latest(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}

// ProcessRecord is an entry of a component's history.
type ProcessRecord struct {
	Change  ProcessChange `json:"change"`
	Time    time.Time     `json:"time"` // Time is when, UTC, by the server's clock.
	ID      string        `json:"process_id"`
	Status  ProcessStatus `json:"status"`
	Message string        `json:"message,omitempty"`
	Host    string        `json:"host,omitempty"`
	PID     int           `json:"pid,omitempty"`
}

// readProcessRecord decodes an element of a history.
func readProcessRecord(key, text string) (r ProcessRecord, err error) {
	if err = json.Unmarshal([]byte(text), &r); err == nil && (r.Change == "" || r.Time.IsZero() || r.ID == "") {
		err = errors.New("want change, time and process_id")
	}
	if err != nil {
		return ProcessRecord{}, &CorruptError{Key: key, Err: fmt.Errorf("element %s: %w", excerpt(text), err)}
	}
	return r, nil
}
