package relay

// unconfirmed are rows that a survey brought before the tail has told of them.
// Mostly the survey was just faster. A row that the tail still has not told of
// when it has read past the survey's position, it will never tell of: it was
// reconciled. That is how a tail is found out that does not tell all, since
// PostgreSQL sends nothing of a table that its publication has lost.
type unconfirmed map[Ref]LSN

// brought notes a row of a survey.
func (u unconfirmed) brought(r Ref, survey LSN) { u[r] = survey }

// told notes that the tail has told of the row.
func (u unconfirmed) told(r Ref) { delete(u, r) }

// passed takes out the rows that the tail has missed, now that it has read up to
// position, and returns how many there were.
func (u unconfirmed) passed(position LSN) int {
	missed := 0
	for r, survey := range u {
		if survey <= position {
			delete(u, r)
			missed++
		}
	}
	return missed
}
