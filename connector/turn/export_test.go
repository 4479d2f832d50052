package turn

// Lines is how many lines are remembered.
func (q *Queue) Lines() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return max(len(q.lines), len(q.ring))
}
