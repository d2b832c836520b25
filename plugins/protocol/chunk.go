package protocol

import "fmt"

// MessageBytes bounds a message; it is gRPC's own limit, which go-plugin lifts.
const MessageBytes = 4 << 20

const (
	chunkBytes = 1 << 20
	maxModule  = 1 << 30 // bytes of a module, in which constants are of irpb.InlineBytes at most
	maxNew     = 8 << 30 // bytes of new constants in one result
)

func inChunks(b []byte, send func([]byte) error) error {
	for len(b) > 0 {
		n := min(len(b), chunkBytes)
		if err := send(b[:n]); err != nil {
			return err
		}
		b = b[n:]
	}
	return nil
}

// buffer takes chunks up to a size that was said before. Memory is taken as they come.
type buffer struct {
	data []byte
	size int64
}

func full(b []byte) buffer { return buffer{b, int64(len(b))} }

func moduleBuffer(size int64) (buffer, error) {
	if size < 0 || size > maxModule {
		return buffer{}, fmt.Errorf("a module of %d bytes; %d GiB is the limit", size, maxModule>>30)
	}
	return buffer{size: size}, nil
}

func (b *buffer) missing() int64 { return b.size - int64(len(b.data)) }

// add takes what is missing, and gives the rest back.
func (b *buffer) add(chunk []byte) (rest []byte) {
	n := min(int64(len(chunk)), b.missing())
	b.data = append(b.data, chunk[:n]...)
	return chunk[n:]
}
