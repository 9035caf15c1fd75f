// Package tail
package tail
