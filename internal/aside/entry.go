package aside

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/redis/rueidis"

	"github.com/fullon/fulloncache/internal/kv"
)

// metaField is the field of an entry that is no element.
const metaField = ""

// entry is an entry as it was read.
type entry[V any] struct {
	value         V
	loaded, fresh time.Time // when the record was asked; until when that will do
	generation    int64
	absent        bool
}

func (e *entry[V]) answer(hit bool) Entry[V] {
	return Entry[V]{Value: e.value, Loaded: e.loaded, Absent: e.absent, Hit: hit}
}

// outdated is the answer of an entry that could not be loaded anew.
func (e *entry[V]) outdated(hit bool) Entry[V] {
	a := e.answer(hit)
	a.Outdated = true
	return a
}

// errNone keeps a near cache from keeping that there is nothing.
var errNone = errors.New("none")

// corruption is what is wrong with an entry, and its meta text: by it the
// server tells it from the entry that replaces it.
type corruption struct {
	meta string
	err  error
}

func (c *corruption) Error() string { return c.err.Error() }

// Unwrap returns the cause.
func (c *corruption) Unwrap() error { return c.err }

// look reads a key's entry, nil if there is none, and the generation in force, 0
// if there is none. A corrupt entry is noted in the request.
func (c *cache[V]) look(ctx context.Context, r *request) (e *entry[V], generation int64, hit bool, err error) {
	generation, known, err := c.generations.Get(ctx, c.opt.Generation)
	if err != nil && !errors.Is(err, errNone) {
		return nil, 0, false, fmt.Errorf("read %s: %w", c.opt.Generation, err)
	}
	e, hit, err = c.entries.Get(ctx, r.key)
	if !hit && known {
		// A connection tells that a generation has ended before it answers what was
		// asked afterwards: then the entry may be of the ended one, and none is in force.
		generation, known = c.generations.Peek(c.opt.Generation, time.Now())
	}
	switch {
	case errors.Is(err, errNone):
		return nil, generation, false, nil
	case errors.As(err, &r.corrupt):
		return nil, generation, false, nil
	case err != nil:
		return nil, 0, false, fmt.Errorf("read %s: %w", r.key, err)
	}
	return e, generation, hit && known, nil
}

// decodeGeneration takes what is no generation for none: the next load mends it
// and tells.
func decodeGeneration(_ string, m rueidis.RedisMessage, err error) (int64, error) {
	if kv.IsNil(err) || kv.IsWrongType(err) {
		return 0, errNone
	}
	text, err := text(m, err)
	if err != nil {
		return 0, err
	}
	g, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		return 0, errNone
	}
	return g, nil
}

func text(m rueidis.RedisMessage, err error) (string, error) {
	if err != nil {
		return "", err
	}
	return m.ToString()
}

func (c *cache[V]) decode(key string, m rueidis.RedisMessage, err error) (*entry[V], error) {
	var elements map[string]string
	if err == nil {
		elements, err = m.AsStrMap()
	}
	switch {
	case kv.IsWrongType(err):
		return nil, &corruption{err: err}
	case err != nil:
		return nil, err
	case len(elements) == 0:
		return nil, errNone
	}
	meta := elements[metaField]
	delete(elements, metaField)
	e, err := parseMeta[V](meta)
	if err == nil && !e.absent {
		e.value, err = c.opt.Decode(key, elements)
	}
	if err != nil {
		return nil, &corruption{meta: meta, err: err}
	}
	return e, nil
}

// parseMeta parses "loaded fresh-until generation present|absent".
func parseMeta[V any](meta string) (*entry[V], error) {
	words := strings.Split(meta, " ")
	if len(words) != 4 || words[3] != "present" && words[3] != "absent" {
		return nil, fmt.Errorf("not the meta text of an entry: %q", meta)
	}
	e := &entry[V]{absent: words[3] == "absent"}
	var errs [3]error
	e.loaded, errs[0] = parseStamp(words[0])
	e.fresh, errs[1] = parseStamp(words[1])
	e.generation, errs[2] = strconv.ParseInt(words[2], 10, 64)
	if err := errors.Join(errs[:]...); err != nil {
		return nil, fmt.Errorf("the meta text of an entry, %q: %w", meta, err)
	}
	return e, nil
}

// stampFormat is how the scripts write times.
const stampFormat = "2006-01-02T15:04:05.000000000Z"

func parseStamp(s string) (time.Time, error) { return time.Parse(stampFormat, s) }

// stamp writes a time in microseconds; before all times it is "", and after all
// of them "~", which compare so with every stamp.
func stamp(us int64) string {
	switch {
	case us == 0:
		return ""
	case us > time.Date(9999, 1, 1, 0, 0, 0, 0, time.UTC).UnixMicro():
		return "~"
	}
	return time.UnixMicro(us).UTC().Format(stampFormat)
}
