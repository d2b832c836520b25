package cpu

// thin says whether there are so few rows that B is read where it lies: it would be packed to be
// used so few times. Weights are neither copied nor packed for the one row of a decode step.
func (p *product) thin(cut *blocks, rows int64) bool { return rows <= cut.thin && p.b.buf != nil }

// thinBlock adds rows of A from i0 on times a block of B, from k0 on, to C, each point in the
// order of k, as the packed blocks are.
func (w *worker[T]) thinBlock(batch, i0 int64, rows, cols int, k0 int64, depth int) error {
	offs, list := w.kB[:depth], w.colB[:cols]
	a, c := w.packA[:depth], w.packA[depth:depth+cols]
	b, across, along := w.b.data, straight(list), straight(offs)
	for i := range rows {
		if w.a.computed() {
			if err := w.a.fill(a, 1, depth, w.p, batch, w.p.m, i0+int64(i), 1, k0, depth); err != nil {
				return err
			}
		} else {
			row := w.batchA + w.rowA[i]
			for k, off := range w.kA[:depth] {
				a[k] = w.a.data[row+off]
			}
		}
		switch {
		case across:
			rowTimesRows(a, b, w.batchB+list[0], offs, c)
		case along:
			rowTimesColumns(a, b, w.batchB+offs[0], list, c)
		default:
			for n, col := range list {
				at, sum := w.batchB+col, T(0)
				for k, off := range offs {
					sum += a[k] * b[at+off]
				}
				c[n] = sum
			}
		}
		out := w.batchC + w.rowC[i]
		for n, col := range w.colC[:cols] {
			if k0 == 0 {
				w.c[out+col] = c[n]
			} else {
				w.c[out+col] += c[n]
			}
		}
	}
	return nil
}

// straight says whether addresses go up one by one.
func straight(list []int) bool {
	for i, at := range list {
		if at != list[0]+i {
			return false
		}
	}
	return true
}

// rowTimesRows sums up a[k] times the elements from b[at+offs[k]] on, four rows of B at a time.
func rowTimesRows[T element](a, b []T, at int, offs []int, c []T) {
	clear(c)
	row := func(k int) []T { return b[at+offs[k]:][:len(c)] }
	k := 0
	for ; k+4 <= len(a); k += 4 {
		x0, x1, x2, x3 := a[k], a[k+1], a[k+2], a[k+3]
		b0, b1, b2, b3 := row(k), row(k+1), row(k+2), row(k+3)
		for j, sum := range c {
			sum += x0 * b0[j]
			sum += x1 * b1[j]
			sum += x2 * b2[j]
			sum += x3 * b3[j]
			c[j] = sum
		}
	}
	for ; k < len(a); k++ {
		x, y := a[k], row(k)
		for j := range c {
			c[j] += x * y[j]
		}
	}
}

// rowTimesColumns sums up a[k] times element k of columns, which begin at b[at+cols[n]], four at
// a time.
func rowTimesColumns[T element](a, b []T, at int, cols []int, c []T) {
	for len(cols) > 0 {
		column := func(n int) []T { return b[at+cols[min(n, len(cols)-1)]:][:len(a)] }
		b0, b1, b2, b3 := column(0), column(1), column(2), column(3)
		var sums [4]T
		c0, c1, c2, c3 := sums[0], sums[0], sums[0], sums[0]
		for k, x := range a {
			c0 += x * b0[k]
			c1 += x * b1[k]
			c2 += x * b2[k]
			c3 += x * b3[k]
		}
		sums = [4]T{c0, c1, c2, c3}
		n := copy(c, sums[:min(4, len(cols))])
		cols, c = cols[n:], c[n:]
	}
}
