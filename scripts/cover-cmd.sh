#!/usr/bin/env bash
# Reports what end-to-end runs of the command execute: a binary built with -cover, on
# a private redis-server and a SQLite file. Each call must end as it says.
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/.."
dir=$(mktemp -d)
trap 'kill $(jobs -p) 2>/dev/null || true; wait; rm -rf "$dir"' EXIT
mkdir "$dir/cover"
export GOCOVERDIR=$dir/cover
fulloncache=$dir/fulloncache
go build -cover -coverpkg=./cmd/fulloncache -o "$fulloncache" ./cmd/fulloncache

# serve FOLDER: what one series of calls works with.
serve() {
	mkdir "$1"
	redis-server --port 0 --unixsocket "$1/redis.sock" --dir "$1" --appendonly yes >"$1/redis.log" &
	for _ in {1..100}; do [[ -S $1/redis.sock ]] && return; sleep 0.1; done
	cat "$1/redis.log" >&2
	return 1
}
serve "$dir/text"
serve "$dir/json"

# try CODE ARGS…: the command must end with the code.
try() {
	local want=$1 got=0
	shift
	"$fulloncache" "$@" >out 2>&1 || got=$?
	if ((got != want)); then
		echo "fulloncache $*: exit code $got, want $want" >&2
		cat out >&2
		exit 1
	fi
}

# series FOLDER [--json]: what every command does, in the folder of its server.
series() {
	local json=${2-}
	cd "$1"
	export HOME=$1 FULLON_CACHE_LOG_DIR=$1 REDIS_URL=unix://$1/redis.sock DATABASE_URL=sqlite://$1/desk.db
	echo '{"exchange": "kraken", "symbol": "BTC/USD", "price": "67123.4", "time": "1618677709.98"}' >ticks.ndjson
	echo '{"exchange": "kraken", "symbol": "BTC/USD", "ex_trade_id": "T-1", "side": "buy", "price": "1", "volume": "2", "time": 1}' >trades.ndjson
	echo '{"exchange": "kraken", "symbol": "BTC/USD", "base": "BTC", "quote": "USD", "decimals": 1, "lot_decimals": 8, "order_min": "0.0001"}' >symbols.ndjson
	printf 'time,open,high,low,close,volume\n60,1,2,1,2,5\n120,2,3,2,3,5\n' >bars.csv

	for call in ping health keys config version 'tick list' doctor docs 'docs quickstart' 'docs commands' 'docs --all' examples 'examples pubsub' \
		'bot blocks' 'bot status' 'process list' 'process health' 'error list' 'account positions' 'account balances' 'ohlcv series'; do
		# shellcheck disable=SC2086 # the words of a call
		try 0 $call $json
	done
	try 0 replay ticks.ndjson --speed max $json
	try 0 tick get kraken BTC/USD $json
	try 0 tick any BTC/USD $json
	try 0 tick watch kraken --count 1 $json
	try 0 db migrate $json
	try 0 db seed $json
	try 0 db status $json
	try 0 symbol import symbols.ndjson $json
	try 0 symbol list kraken $json
	try 0 symbol get kraken BTC/USD $json
	try 0 exchange list $json
	try 0 exchange get kraken $json
	try 0 order submit kraken BTC/USD buy 0.5 --price 67000 --id "o-1$json" --save $json
	try 0 order list kraken $json
	try 0 order status kraken "o-1$json" $json
	try 0 order consume kraken --count 1 $json
	try 0 order queue push spot a b $json
	try 0 order queue peek spot $json
	try 0 order queue pop spot $json
	try 0 order queue stats kraken $json
	try 0 order dead kraken $json
	try 0 replay --trades trades.ndjson $json
	try 0 trade peek kraken BTC/USD $json
	try 0 trade status $json
	try 0 trade drain kraken BTC/USD --limit 1 $json
	try 0 bot block kraken BTC/USD bot_1 $json
	try 1 bot block kraken BTC/USD bot_2 $json
	try 0 bot unblock kraken BTC/USD bot_1 $json
	try 0 error push bot_1 "it hurts" $json
	try 0 error pop $json
	try 0 account apply 7 kraken BTC/USD buy 0.5 67000 --id "T-1$json" $json
	try 0 account positions 7 kraken BTC/USD $json
	try 0 ohlcv load bars.csv --exchange kraken --symbol BTC/USD --timeframe 1m $json
	try 0 ohlcv latest kraken BTC/USD 1m --count 2 $json
	try 0 ohlcv resample kraken BTC/USD 1m 5m $json
	try 0 bench --duration 1ms --callers 2 $json
	try 1 migrate --from "$REDIS_URL" $json
}

# rest FOLDER: what one of the two is enough for.
rest() {
	series "$1"
	try 0 examples run pubsub
	try 0 ohlcv show kraken BTC/USD 1m
	try 0 tick delete kraken BTC/USD
	try 0 demo --duration 1s --json
	try 2 nonsense
	try 2 tick get kraken
}

# Each in a process of its own, at the same time.
rest "$dir/text" &
text=$!
series "$dir/json" --json &
json=$!
wait "$text"
wait "$json"

echo "coverage of cmd/fulloncache from end-to-end runs:"
go tool covdata percent -i="$dir/cover"
