package cpu

// packRows lays out rows of B, which begin at data[base+offs[k]], in panels of some width, which begin apart
// elements one after the other: row by row, so that all of a row is read while its page is at hand. Columns
// that are missing at the end are 0.
func packRows[T element](to []T, width, apart int, data []T, base int, offs []int, cols int) {
	for k, off := range offs {
		row, at := data[base+off:][:cols], k*width
		for ; len(row) >= width; row = row[width:] {
			copy(to[at:at+width], row)
			at += apart
		}
		if len(row) > 0 {
			clear(to[at+copy(to[at:at+width], row) : at+width])
		}
	}
}

// pack lays out rows of A, or columns of B, as a panel of some width: element by element of
// k, as many as there are in offs. Rows begin at data[base+lines[i]]; those that are missing are 0.
func pack[T element](to []T, width int, data []T, base int, lines, offs []int) {
	n := len(lines)
	if n < width {
		clear(to)
	}
	along := straight(offs)
	if n == 1 && along {
		for k, v := range data[base+lines[0]+offs[0]:][:len(offs)] {
			to[k*width] = v
		}
		return
	}
	if straight(lines) {
		for k, off := range offs {
			copy(to[k*width:k*width+n], data[base+lines[0]+off:])
		}
		return
	}
	for i := 0; i < n; i += 4 {
		if !along || i+4 > n {
			for j := i; j < min(i+4, n); j++ {
				at := base + lines[j]
				for k, off := range offs {
					to[k*width+j] = data[at+off]
				}
			}
			continue
		}
		line := func(j int) []T { return data[base+lines[j]+offs[0]:][:len(offs)] }
		a, b, c, d := line(i), line(i+1), line(i+2), line(i+3)
		at := i
		for k := range a {
			four := to[at : at+4 : at+4]
			four[0], four[1], four[2], four[3] = a[k], b[k], c[k], d[k]
			at += width
		}
	}
}
