package engine

// OpenWindow has terms begin with their whole window, for tests that hold back all
// acknowledgements and want more than one row in flight.
func (c *Config) OpenWindow() { c.openWindow = true }
