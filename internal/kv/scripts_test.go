package kv

import (
	"strings"
	"testing"
)

func TestScriptsAreWholeAndSayWhetherTheyMayBeSentAgain(t *testing.T) {
	t.Parallel()
	again := map[Script]bool{
		TickSet: true, TickBeat: true, TickDelete: false, ListPush: false,
		ListAppend: false, TimeSet: true, HashDelete: false, OrderWrite: true, OrderDelete: false,
		TradesPush: false, TradesPeek: true, TradesDrain: true, TradesSettle: false, TradesPop: false,
		BarsAppend: true, BarsRange: true, BarsDelete: false,
		LeaseAcquire: true, LeaseRenew: true, LeaseRelease: true, LeaseDrop: false, LeaseGet: true,
		BotUpdate: true, BotDelete: false,
		PositionApply: true, PositionWrite: true, PositionDelete: false, AccountSet: true,
		AsideGeneration: true, AsideClaim: true, AsideFill: true, AsideFail: true, AsideWrite: true, AsideInvalidate: true,
		QueueUse: true, QueueSubmit: true, QueueAck: false, QueueSettle: false, QueueClaim: false, QueueLease: true, QueueRead: true, QueueRequeue: false,
		ProcessRegister: true, ProcessBeat: true, ProcessAlive: true, ProcessDie: false, ProcessForget: false, ProcessDue: true, ProcessIndex: true, ProcessGet: true,
	}
	for _, inProcess := range []bool{false, true} {
		scripts := loadScripts(inProcess)
		if len(scripts) != len(again) {
			t.Errorf("%d scripts, want %d", len(scripts), len(again))
		}
		for name, retry := range again {
			s := scripts[name]
			if s.retry != retry {
				t.Errorf("%s: may be sent again: %t", name, s.retry)
			}
			if strings.Contains(s.body, "@include") {
				t.Errorf("%s: an include is left", name)
			}
			if strings.HasPrefix(s.body, "#!lua") == inProcess {
				t.Errorf("%s, in process %t: %q", name, inProcess, s.body[:20])
			}
		}
	}
}

func TestScriptThatDoesNotExistStopsAtStart(t *testing.T) {
	t.Parallel()
	defer func() {
		if recover() == nil {
			t.Error("it went on")
		}
	}()
	read("scripts/include/none.lua")
}
