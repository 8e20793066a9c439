package fulloncache

import (
	"context"

	"github.com/redis/rueidis"

	"github.com/fullon/fulloncache/internal/kv"
)

// typedKey is a key and the Redis type that it has to have.
type typedKey struct{ key, kind string }

// blame names the key that made a script fail because it holds another Redis
// type: the server does not say which it was. It is the first if none is found.
func blame(ctx context.Context, db *kv.Client, err error, keys ...typedKey) error {
	if !kv.IsWrongType(err) {
		return err
	}
	culprit := keys[0].key
	for _, k := range keys {
		reply, terr := db.Do(ctx, db.B().Type().Key(k.key).Build())
		if kind, _ := reply.ToString(); terr == nil && kind != k.kind && kind != "none" {
			culprit = k.key
		}
	}
	return &CorruptError{Key: culprit, Err: err}
}

// replyParts takes the list apart that a script returned.
func replyParts(reply rueidis.RedisMessage, err error) ([]rueidis.RedisMessage, error) {
	if err != nil {
		return nil, err
	}
	return reply.ToArray()
}
