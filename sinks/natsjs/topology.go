package natsjs

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// createTimeout bounds the creation of a stream.
const createTimeout = 5 * time.Second

// createRoute adds two subjects to the configured stream: the topic's first token, and
// everything below that token. It creates the stream if it is missing.
func (s *session) createRoute(ctx context.Context, topic string) error {
	ctx, cancel := context.WithTimeout(ctx, createTimeout)
	defer cancel()
	first, _, _ := strings.Cut(topic, ".")
	subjects := []string{first, first + ".>"}
	name := s.options.StreamName

	stream, err := s.js.Stream(ctx, name)
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		_, err = s.js.CreateStream(ctx, jetstream.StreamConfig{
			Name: name, Subjects: subjects, Storage: jetstream.FileStorage,
			Description:       "made by outbox-relay (OUTBOX_TOPOLOGY=create)",
			AllowBatchPublish: s.knowsBatches(),
		})
		switch {
		case errors.Is(err, jetstream.ErrStreamNameAlreadyInUse):
			return nil // another relay has just created it: the next publish shows it
		case err != nil:
			return fmt.Errorf("create stream %q with subjects %q: %w", name, subjects, explainOverlap(err))
		}
		s.options.Logger.Info("stream created", slog.String("stream", name), slog.Any("subjects", subjects))
		return nil
	}
	if err != nil {
		return fmt.Errorf("read stream %q: %w", name, err)
	}
	config := stream.CachedInfo().Config
	before := len(config.Subjects)
	for _, subject := range subjects {
		if !slices.Contains(config.Subjects, subject) {
			config.Subjects = append(config.Subjects, subject)
		}
	}
	if len(config.Subjects) == before {
		return nil // another relay has just added them
	}
	if _, err := s.js.UpdateStream(ctx, config); err != nil {
		return fmt.Errorf("add subjects %q to stream %q: %w", subjects, name, explainOverlap(err))
	}
	s.options.Logger.Info("subjects added to stream", slog.String("stream", name), slog.Any("subjects", subjects))
	return nil
}

func explainOverlap(err error) error {
	var api *jetstream.APIError
	if errors.As(err, &api) && api.ErrorCode == codeSubjectsOverlap {
		return fmt.Errorf("%w: another stream has a part of them; add the topic to a stream by hand", err)
	}
	return err
}
