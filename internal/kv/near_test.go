package kv_test

import (
	"context"

	"github.com/redis/rueidis"

	"github.com/fullon/fulloncache/internal/kv"
)

// nearText reads a key through a near cache.
func nearText(ctx context.Context, n *kv.Near[string], key string) (string, bool, error) {
	return n.Get(ctx, key,
		func(b rueidis.Builder) rueidis.Cacheable { return b.Get().Key(key).Cache() },
		func(m rueidis.RedisMessage, err error) (string, error) {
			if err != nil {
				return "", err
			}
			return m.ToString()
		})
}
