//go:build chaos

package e2e_test

import "testing"

// The campaigns of the issue: ten kills each.

func TestChaosRabbitMQKilledOnAClassicQueue(t *testing.T) { killNodeUnderLoad(t, nil, 10, 70) }

func TestChaosRabbitMQKilledOnAQuorumQueue(t *testing.T) { killNodeUnderLoad(t, quorum, 10, 71) }
