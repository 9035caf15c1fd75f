package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

const (
	address = ":8080"
	// maxOrder bounds the body of a request, in bytes.
	maxOrder = 16 << 10
	// grace is how long requests under way may take after SIGTERM.
	grace = 10 * time.Second
)

// order is a request's body.
type order struct {
	Customer string  `json:"customer"`
	Total    float64 `json:"total"`
}

// event is what others hear of an order.
type event struct {
	ID int64 `json:"id"`
	order
}

// serve takes orders until ctx ends.
func serve(ctx context.Context) error {
	pool, err := pgxpool.New(ctx, os.Getenv("DATABASE_URL"))
	if err != nil {
		return fmt.Errorf("DATABASE_URL: %w", err)
	}
	defer pool.Close()
	mux := http.NewServeMux()
	mux.HandleFunc("POST /orders", func(w http.ResponseWriter, r *http.Request) {
		var o order
		if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxOrder)).Decode(&o); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		id, err := place(r.Context(), pool, o)
		if err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		w.WriteHeader(http.StatusCreated)
		fmt.Fprintf(w, "order %d\n", id)
	})
	server := &http.Server{Addr: address, Handler: mux, ReadHeaderTimeout: 5 * time.Second}
	ended := make(chan error, 1)
	go func() { ended <- server.ListenAndServe() }()
	select {
	case err := <-ended:
		return err
	case <-ctx.Done():
	}
	last, cancel := context.WithTimeout(context.WithoutCancel(ctx), grace)
	defer cancel()
	return errors.Join(server.Shutdown(last), ctx.Err())
}

// place writes an order and its event: both or neither. The customer is the key, so
// that the events of a customer keep their order.
func place(ctx context.Context, pool *pgxpool.Pool, o order) (id int64, err error) {
	err = pgx.BeginFunc(ctx, pool, func(tx pgx.Tx) error {
		const insertOrder = `INSERT INTO orders (customer, total) VALUES ($1, $2) RETURNING id`
		if err := tx.QueryRow(ctx, insertOrder, o.Customer, o.Total).Scan(&id); err != nil {
			return fmt.Errorf("insert order: %w", err)
		}
		const insertEvent = `INSERT INTO outbox (topic, key, payload) VALUES ('orders.created', $1, $2)`
		if _, err := tx.Exec(ctx, insertEvent, o.Customer, event{id, o}); err != nil {
			return fmt.Errorf("insert event: %w", err)
		}
		return nil
	})
	return id, err
}
