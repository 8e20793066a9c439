package legacy

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"slices"
	"strings"
	"time"

	"github.com/redis/rueidis"
)

// source reads the Redis that the Python library writes. It has no command that
// writes.
type source struct{ rueidis.Client }

// errSource is matched by the errors of a source that cannot be asked, unlike those
// of what it holds.
var errSource = errors.New("it cannot be asked")

func connect(url string) (source, error) {
	opt, err := rueidis.ParseURL(url)
	if err != nil {
		return source{}, errors.New("want redis://user:password@host:port/db") // the parser's error shows the password
	}
	opt.DisableCache, opt.ForceSingleClient, opt.ClientName = true, true, "fulloncache-migrate"
	opt.DisableRetry = true // a source that is away is said to be
	opt.Dialer = net.Dialer{Timeout: 5 * time.Second}
	c, err := rueidis.NewClient(opt)
	return source{c}, err
}

// asked tells errors of what is asked from those of the connection.
func asked(err error) error {
	if _, answered := rueidis.IsRedisErr(err); err == nil || answered {
		return err
	}
	return fmt.Errorf("%w: %w", errSource, err)
}

// runID is what the server calls itself since it started.
func (s source) runID(ctx context.Context) (string, error) {
	text, err := s.Do(ctx, s.B().Info().Section("server").Build()).ToString()
	for line := range strings.Lines(text) {
		if id, ok := strings.CutPrefix(strings.TrimSpace(line), "run_id:"); ok {
			return id, nil
		}
	}
	if _, refused := rueidis.IsRedisErr(err); refused {
		err = nil // to this user: then it does not say
	}
	return "", err
}

// element is a key, its type, and how many records are in it.
type element struct {
	key, kind string
	size      int64
}

// elements are the keys that are wanted, in order.
func (s source) elements(ctx context.Context, wanted func(key string) bool) (list []element, err error) {
	var names []string
	for cursor := uint64(0); ; {
		page, err := s.Do(ctx, s.B().Scan().Cursor(cursor).Count(1000).Build()).AsScanEntry()
		if err != nil {
			return nil, asked(err)
		}
		for _, key := range page.Elements {
			if wanted(key) {
				names = append(names, key)
			}
		}
		if cursor = page.Cursor; cursor == 0 {
			break
		}
	}
	slices.Sort(names)
	names = slices.Compact(names) // SCAN may name a key twice
	for some := range slices.Chunk(names, 500) {
		var kinds, sizes rueidis.Commands
		for _, key := range some {
			kinds = append(kinds, s.B().Type().Key(key).Build())
		}
		found := make([]element, len(some))
		for i, reply := range s.DoMulti(ctx, kinds...) {
			found[i].key = some[i]
			var terr error
			found[i].kind, terr = reply.ToString()
			err = errors.Join(err, asked(terr))
			switch key := some[i]; found[i].kind {
			case "hash":
				sizes = append(sizes, s.B().Hlen().Key(key).Build())
			case "list":
				sizes = append(sizes, s.B().Llen().Key(key).Build())
			default:
				sizes = append(sizes, s.B().Exists().Key(key).Build())
			}
		}
		for i, reply := range s.DoMulti(ctx, sizes...) {
			// One that changed its type meanwhile is told of when it is read.
			found[i].size, _ = reply.AsInt64()
		}
		list = append(list, found...)
	}
	return list, err
}

// hash are the fields of a hash and their values, in order, at one moment.
func (s source) hash(ctx context.Context, key string) (pairs [][2]string, err error) {
	fields, err := s.Do(ctx, s.B().Hgetall().Key(key).Build()).AsStrMap()
	for _, name := range slices.Sorted(maps.Keys(fields)) {
		pairs = append(pairs, [2]string{name, fields[name]})
	}
	return pairs, asked(err)
}

// list is what a list holds at one moment: pages would lose elements while a
// consumer takes others.
func (s source) list(ctx context.Context, key string) ([]string, error) {
	elements, err := s.Do(ctx, s.B().Lrange().Key(key).Start(0).Stop(-1).Build()).AsStrSlice()
	return elements, asked(err)
}

// text is the value of a key.
func (s source) text(ctx context.Context, key string) (string, error) {
	text, err := s.Do(ctx, s.B().Get().Key(key).Build()).ToString()
	return text, asked(err)
}

// end tells how a list ends and how long it is, to see whether it has changed.
func (s source) end(ctx context.Context, key string) (string, error) {
	replies := s.DoMulti(ctx, s.B().Llen().Key(key).Build(), s.B().Lrange().Key(key).Start(-1).Stop(-1).Build())
	n, err := replies[0].AsInt64()
	if err != nil {
		return "", asked(err)
	}
	last, err := replies[1].AsStrSlice()
	return fmt.Sprint(n, last), asked(err)
}
