package kv

import (
	"crypto/sha1" // EVALSHA names scripts by it; nothing is secured with it
	"embed"
	"encoding/hex"
	"io/fs"
	"path"
	"strings"
	"sync"
)

// Script names a Lua file of the folder scripts. Each opens with a contract:
// KEYS, ARGV, what it returns, and whether it may be sent again when the
// connection broke and the outcome is unknown ("Retry: safe" or "Retry: no").
type Script string

// The scripts.
const (
	TickSet    Script = "tick_set"
	TickBeat   Script = "tick_beat"
	TickDelete Script = "tick_delete"
	ListPush   Script = "list_push"
	ListAppend Script = "list_append"
	TimeSet    Script = "time_set"
	HashDelete Script = "hash_delete"

	OrderWrite  Script = "order_write"
	OrderDelete Script = "order_delete"

	TradesPush   Script = "trades_push"
	TradesPeek   Script = "trades_peek"
	TradesDrain  Script = "trades_drain"
	TradesSettle Script = "trades_settle"
	TradesPop    Script = "trades_pop"

	BarsAppend Script = "bars_append"
	BarsRange  Script = "bars_range"
	BarsDelete Script = "bars_delete"

	LeaseAcquire Script = "lease_acquire"
	LeaseRenew   Script = "lease_renew"
	LeaseRelease Script = "lease_release"
	LeaseDrop    Script = "lease_drop"
	LeaseGet     Script = "lease_get"

	BotUpdate Script = "bot_update"
	BotDelete Script = "bot_delete"

	PositionApply  Script = "position_apply"
	PositionWrite  Script = "position_write"
	PositionDelete Script = "position_delete"
	AccountSet     Script = "account_set"

	AsideGeneration Script = "aside_generation"
	AsideClaim      Script = "aside_claim"
	AsideFill       Script = "aside_fill"
	AsideFail       Script = "aside_fail"
	AsideWrite      Script = "aside_write"
	AsideInvalidate Script = "aside_invalidate"

	QueueUse     Script = "queue_use"
	QueueSubmit  Script = "queue_submit"
	QueueAck     Script = "queue_ack"
	QueueSettle  Script = "queue_settle"
	QueueClaim   Script = "queue_claim"
	QueueLease   Script = "queue_lease"
	QueueRead    Script = "queue_read"
	QueueRequeue Script = "queue_requeue"

	ProcessRegister Script = "process_register"
	ProcessBeat     Script = "process_beat"
	ProcessAlive    Script = "process_alive"
	ProcessDie      Script = "process_die"
	ProcessForget   Script = "process_forget"
	ProcessDue      Script = "process_due"
	ProcessIndex    Script = "process_index"
	ProcessGet      Script = "process_get"
)

//go:embed scripts
var scriptFiles embed.FS

// script is a loaded script.
type script struct {
	body, sha string
	retry     bool
}

// loaded are the scripts, in process and not. Clients share them.
var loaded = map[bool]func() map[Script]script{
	true:  sync.OnceValue(func() map[Script]script { return loadScripts(true) }),
	false: sync.OnceValue(func() map[Script]script { return loadScripts(false) }),
}

// loadScripts reads the embedded scripts and puts in what they include. The
// in-process server cannot parse the "#!lua" line, which makes a real one
// refuse undeclared keys of another slot.
func loadScripts(inProcess bool) map[Script]script {
	scripts := make(map[Script]script)
	files, err := fs.Glob(scriptFiles, "scripts/*.lua")
	must(err)
	for _, file := range files {
		body := included(read(file))
		retry := strings.Contains(body, "\n-- Retry: safe")
		if inProcess {
			_, body, _ = strings.Cut(body, "\n")
		}
		sum := sha1.Sum([]byte(body))
		name := Script(strings.TrimSuffix(path.Base(file), ".lua"))
		scripts[name] = script{body: body, sha: hex.EncodeToString(sum[:]), retry: retry}
	}
	return scripts
}

// included is a script with what it includes in its place.
func included(script string) string {
	var text strings.Builder
	for line := range strings.Lines(script) {
		if name, ok := strings.CutPrefix(strings.TrimSpace(line), "-- @include "); ok {
			line = read("scripts/include/" + name + ".lua")
		}
		text.WriteString(line)
	}
	return text.String()
}

func read(file string) string {
	b, err := scriptFiles.ReadFile(file)
	must(err)
	return string(b)
}

// must stops on what the build guarantees: that embedded files can be read.
func must(err error) {
	if err != nil {
		panic(err)
	}
}
