package fulloncache_test

import (
	"encoding/json"

	"github.com/fullon/fulloncache"
)

// said is what a bot says of one feed.
func said(feed, status string) map[string]json.RawMessage {
	return map[string]json.RawMessage{feed: json.RawMessage(status)}
}

var _ = fulloncache.ErrBlocked
