package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"
)

// untilSignal returns a context that the first SIGTERM or SIGINT cancels. The second
// one ends the process at once, with the exit status that a shell gives for it:
// whoever sent it will not wait any longer. stop gives the signals back their usual
// effect.
func untilSignal(parent context.Context) (ctx context.Context, stop func()) {
	ctx, cancel := context.WithCancel(parent)
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT)
	stopped := make(chan struct{})
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for count := 1; ; count++ {
			select {
			case s := <-signals:
				if number, ok := s.(syscall.Signal); ok && count > 1 {
					os.Exit(128 + int(number))
				}
				cancel()
			case <-stopped:
				return
			}
		}
	}()
	return ctx, func() {
		signal.Stop(signals)
		close(stopped)
		<-ended
		cancel()
	}
}
