package emu

import (
	"encoding/binary"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/pitopt/pitopt/runtime/cuda/driver"
)

// Options say what device is emulated, and what is looked for.
type Options struct {
	// Arch is the compute capability: 80 for sm_80, which 0 stands for.
	Arch int
	// Memory is how many bytes the device has: 0 is 4 GiB. The host gives them as they are allocated.
	Memory int64
	// Races looks for races. Blocks run one after the other then.
	Races bool
	// Seed shuffles the order of blocks and warps, and when one warp gives way to another. 0 runs
	// them in order, each as far as it gets.
	Seed uint64
	// Budget is how many instructions (of warps) a launch may run: 0 is 1<<33.
	Budget int64
	// Workers is how many blocks run side by side: 0 is as many as Go runs.
	Workers int
}

// Driver emulates one device.
type Driver struct {
	opts Options
	info driver.Info
}

// New makes a driver with one device.
func New(o Options) *Driver {
	if o.Arch == 0 {
		o.Arch = 80
	}
	if o.Memory == 0 {
		o.Memory = 4 << 30
	}
	if o.Budget == 0 {
		o.Budget = 1 << 33
	}
	d := &Driver{opts: o, info: driver.Info{
		Name: fmt.Sprintf("emulated sm_%d", o.Arch), Emulated: true, Major: o.Arch / 10, Minor: o.Arch % 10,
		TotalMem: o.Memory, Multiprocessors: 108, WarpSize: 32, MaxThreadsPerBlock: 1024,
		MaxBlock: driver.Dim{X: 1024, Y: 1024, Z: 64}, MaxGrid: driver.Dim{X: 1<<31 - 1, Y: 65535, Z: 65535},
		SharedPerBlock: 48 << 10, SharedPerBlockOptin: 163 << 10, SharedPerMultiproc: 164 << 10,
		RegistersPerBlock: 65536, ThreadsPerMultiproc: 2048, ClockKHz: 1410000, MemoryClockKHz: 1215000,
		MemoryBusBits: 5120, L2Bytes: 40 << 20,
	}}
	switch {
	case o.Arch >= 90:
		d.info.SharedPerBlockOptin, d.info.SharedPerMultiproc, d.info.Multiprocessors = 227<<10, 228<<10, 132
	case o.Arch == 86 || o.Arch == 89:
		d.info.SharedPerBlockOptin, d.info.SharedPerMultiproc, d.info.ThreadsPerMultiproc = 99<<10, 100<<10, 1536
	case o.Arch < 80:
		d.info.SharedPerBlockOptin, d.info.SharedPerMultiproc, d.info.ThreadsPerMultiproc = 64<<10, 64<<10, 1024
	}
	return d
}

func (d *Driver) Name() string          { return "emulator" }
func (d *Driver) Version() (int, error) { return 12080, nil }
func (d *Driver) Devices() (int, error) { return 1, nil }

func (d *Driver) Info(device int) (driver.Info, error) {
	if device != 0 {
		return driver.Info{}, driver.Errorf("cuDeviceGet", driver.InvalidDevice, "device %d: there is one", device)
	}
	return d.info, nil
}

// Open makes a context; it is a *Context.
func (d *Driver) Open(device int) (driver.Context, error) {
	info, err := d.Info(device)
	if err != nil {
		return nil, err
	}
	return &Context{opts: d.opts, info: info, mem: memory{limit: d.opts.Memory}, handles: map[uintptr]any{}}, nil
}

// Context is an emulated device in use. Whatever is put in a stream runs at once.
type Context struct {
	opts Options
	info driver.Info

	mu       sync.Mutex
	mem      memory
	handles  map[uintptr]any
	last     uintptr
	launches int
	failed   error // of a kernel: every call after it gives it
	closed   bool
	sum      Counters
	byKernel map[string]*Counters
}

// loaded is a module in a context.
type loaded struct {
	mod  *module
	text string
	vars map[string]*allocation
	fns  map[string]driver.Function
}

// entry is a function of a module in a context.
type entry struct {
	mod        *loaded
	fn         *function
	maxDynamic int
}

type stream struct{}

type event struct {
	at       time.Time
	recorded bool
}

// enter locks the context for a call, unless it is closed or dead.
func (c *Context) enter(call string) error {
	c.mu.Lock()
	var err error
	switch {
	case c.closed:
		err = driver.Errorf(call, driver.InvalidContext, "the context is closed")
	case c.failed != nil:
		e := &driver.Error{Call: call, Result: driver.ResultOf(c.failed), Detail: "since a kernel failed: " + c.failed.Error(), Err: c.failed}
		err = e
	}
	if err != nil {
		c.mu.Unlock()
	}
	return err
}

func (c *Context) handle(v any) uintptr {
	c.last++
	c.handles[c.last] = v
	return c.last
}

// lookup finds what a handle stands for.
func lookup[T any](c *Context, call string, h uintptr) (T, error) {
	v, ok := c.handles[h].(T)
	if !ok {
		return v, driver.Errorf(call, driver.InvalidHandle, "handle %d", h)
	}
	return v, nil
}

func (c *Context) stream(call string, s driver.Stream) error {
	if s == 0 {
		return nil
	}
	_, err := lookup[*stream](c, call, uintptr(s))
	return err
}

func (c *Context) Info() driver.Info { return c.info }

// Counters gives what all launches did so far, and what those of each kernel did.
func (c *Context) Counters() (all Counters, kernels map[string]Counters) {
	c.mu.Lock()
	defer c.mu.Unlock()
	kernels = make(map[string]Counters, len(c.byKernel))
	for k, v := range c.byKernel {
		kernels[k] = *v
	}
	return c.sum, kernels
}

func (c *Context) Alloc(bytes int64) (driver.Ptr, error) {
	if err := c.enter("cuMemAlloc"); err != nil {
		return 0, err
	}
	defer c.mu.Unlock()
	a, err := c.mem.alloc(bytes)
	if err != nil {
		return 0, err
	}
	return driver.Ptr(a.base), nil
}

func (c *Context) Free(p driver.Ptr) error {
	if err := c.enter("cuMemFree"); err != nil {
		return err
	}
	defer c.mu.Unlock()
	return c.mem.free(uint64(p))
}

func (c *Context) MemInfo() (free, total int64, err error) {
	if err := c.enter("cuMemGetInfo"); err != nil {
		return 0, 0, err
	}
	defer c.mu.Unlock()
	return c.mem.limit - c.mem.used, c.mem.limit, nil
}

func (c *Context) HtoD(dst driver.Ptr, src []byte, s driver.Stream) error {
	const call = "cuMemcpyHtoD"
	if err := c.enter(call); err != nil {
		return err
	}
	defer c.mu.Unlock()
	p, err := c.mem.bytes(call, dst, int64(len(src)))
	if err != nil {
		return err
	}
	copy(p, src)
	return c.stream(call, s)
}

func (c *Context) DtoH(dst []byte, src driver.Ptr, s driver.Stream) error {
	const call = "cuMemcpyDtoH"
	if err := c.enter(call); err != nil {
		return err
	}
	defer c.mu.Unlock()
	p, err := c.mem.bytes(call, src, int64(len(dst)))
	if err != nil {
		return err
	}
	copy(dst, p)
	return c.stream(call, s)
}

func (c *Context) DtoD(dst, src driver.Ptr, bytes int64, s driver.Stream) error {
	const call = "cuMemcpyDtoD"
	if err := c.enter(call); err != nil {
		return err
	}
	defer c.mu.Unlock()
	from, err := c.mem.bytes(call, src, bytes)
	if err != nil {
		return err
	}
	to, err := c.mem.bytes(call, dst, bytes)
	if err != nil {
		return err
	}
	copy(to, from)
	return c.stream(call, s)
}

func (c *Context) Memset(dst driver.Ptr, value byte, bytes int64, s driver.Stream) error {
	const call = "cuMemsetD8"
	if err := c.enter(call); err != nil {
		return err
	}
	defer c.mu.Unlock()
	p, err := c.mem.bytes(call, dst, bytes)
	if err != nil {
		return err
	}
	for i := range p {
		p[i] = value
	}
	return c.stream(call, s)
}

func (c *Context) Load(ptx string) (driver.Module, error) {
	const call = "cuModuleLoadData"
	if err := c.enter(call); err != nil {
		return 0, err
	}
	defer c.mu.Unlock()
	m, err := parse(ptx)
	if err == nil {
		err = m.decode()
	}
	if err != nil {
		var e *parseError
		if errors.As(err, &e) {
			return 0, &driver.Error{Call: call, Result: driver.InvalidPTX, Err: err,
				Detail: fmt.Sprintf("line %d: %s: %s", e.line, sourceLine(ptx, e.line), e.msg)}
		}
		return 0, &driver.Error{Call: call, Result: driver.InvalidPTX, Err: err, Detail: err.Error()}
	}
	switch {
	case m.sm > c.opts.Arch:
		return 0, driver.Errorf(call, driver.InvalidPTX, "the module is for sm_%d, the device is sm_%d", m.sm, c.opts.Arch)
	case m.version > maxVersion:
		return 0, driver.Errorf(call, driver.UnsupportedPTXVersion, "PTX %d.%d: at most %d.%d is known",
			m.version/10, m.version%10, maxVersion/10, maxVersion%10)
	}
	l := &loaded{mod: m, text: ptx, vars: map[string]*allocation{}, fns: map[string]driver.Function{}}
	for _, v := range m.vars {
		if !v.atLoad {
			continue
		}
		a, err := c.mem.alloc(max(v.bytes, 1))
		if err != nil {
			return 0, driver.Errorf(call, driver.OutOfMemory, "variable %q: %v", v.name, err)
		}
		clear(a.data)
		copy(a.data, v.init)
		l.vars[v.name], v.addr = a, a.base
	}
	for _, v := range m.vars {
		for _, r := range v.refs {
			to := m.byName[r.name]
			if to == nil || !to.atLoad {
				return 0, driver.Errorf(call, driver.InvalidPTX, "line %d: no variable %q of the module", r.line, r.name)
			}
			binary.LittleEndian.PutUint64(l.vars[v.name].data[r.at:], to.addr+uint64(r.off))
		}
		if v.space == constant {
			l.vars[v.name].readOnly = true
		}
	}
	return driver.Module(c.handle(l)), nil
}

// maxVersion is the newest PTX whose texts are taken.
const maxVersion = 88

func (c *Context) Unload(m driver.Module) error {
	const call = "cuModuleUnload"
	if err := c.enter(call); err != nil {
		return err
	}
	defer c.mu.Unlock()
	l, err := lookup[*loaded](c, call, uintptr(m))
	if err != nil {
		return err
	}
	for _, a := range l.vars {
		if err := c.mem.free(a.base); err != nil {
			return err
		}
	}
	for _, f := range l.fns {
		delete(c.handles, uintptr(f))
	}
	delete(c.handles, uintptr(m))
	return nil
}

func (c *Context) Function(m driver.Module, name string) (driver.Function, error) {
	const call = "cuModuleGetFunction"
	if err := c.enter(call); err != nil {
		return 0, err
	}
	defer c.mu.Unlock()
	l, err := lookup[*loaded](c, call, uintptr(m))
	if err != nil {
		return 0, err
	}
	if h, ok := l.fns[name]; ok {
		return h, nil
	}
	f := l.mod.funcs[name]
	if f == nil {
		return 0, driver.Errorf(call, driver.NotFound, "no entry %q", name)
	}
	h := driver.Function(c.handle(&entry{mod: l, fn: f, maxDynamic: max(0, c.info.SharedPerBlock-int(f.sharedSize))}))
	l.fns[name] = h
	return h, nil
}

func (c *Context) Global(m driver.Module, name string) (driver.Ptr, int64, error) {
	const call = "cuModuleGetGlobal"
	if err := c.enter(call); err != nil {
		return 0, 0, err
	}
	defer c.mu.Unlock()
	l, err := lookup[*loaded](c, call, uintptr(m))
	if err != nil {
		return 0, 0, err
	}
	a := l.vars[name]
	if a == nil {
		return 0, 0, driver.Errorf(call, driver.NotFound, "no variable %q", name)
	}
	return driver.Ptr(a.base), int64(len(a.data)), nil
}

// ParamSizes gives the bytes of each parameter of f; nil if there is no such function.
func (c *Context) ParamSizes(f driver.Function) []int {
	c.mu.Lock()
	defer c.mu.Unlock()
	e, ok := c.handles[uintptr(f)].(*entry)
	if !ok {
		return nil
	}
	sizes := make([]int, len(e.fn.params))
	for i, p := range e.fn.params {
		sizes[i] = int(p.bytes)
	}
	return sizes
}

func (c *Context) FunctionInfo(f driver.Function) (driver.FunctionInfo, error) {
	const call = "cuFuncGetAttribute"
	if err := c.enter(call); err != nil {
		return driver.FunctionInfo{}, err
	}
	defer c.mu.Unlock()
	e, err := lookup[*entry](c, call, uintptr(f))
	if err != nil {
		return driver.FunctionInfo{}, err
	}
	threads := c.info.MaxThreadsPerBlock
	for _, d := range [][3]int{e.fn.maxThreads, e.fn.reqThreads} {
		if n := d[0] * d[1] * d[2]; n > 0 {
			threads = min(threads, n)
		}
	}
	return driver.FunctionInfo{MaxThreadsPerBlock: threads, Registers: e.fn.pressure, Shared: int(e.fn.sharedSize),
		Local: int(e.fn.localSize), MaxDynamicShared: e.maxDynamic, PTXVersion: e.mod.mod.version, BinaryVersion: c.opts.Arch}, nil
}

func (c *Context) SetMaxDynamicShared(f driver.Function, bytes int) error {
	const call = "cuFuncSetAttribute"
	if err := c.enter(call); err != nil {
		return err
	}
	defer c.mu.Unlock()
	e, err := lookup[*entry](c, call, uintptr(f))
	if err != nil {
		return err
	}
	if most := c.info.SharedPerBlockOptin - int(e.fn.sharedSize); bytes < 0 || bytes > most {
		return driver.Errorf(call, driver.InvalidValue, "%d bytes of dynamic shared memory for %q: at most %d", bytes, e.fn.name, most)
	}
	e.maxDynamic = bytes
	return nil
}

func (c *Context) Launch(f driver.Function, cfg driver.Launch) error {
	const call = "cuLaunchKernel"
	if err := c.enter(call); err != nil {
		return err
	}
	defer c.mu.Unlock()
	e, err := lookup[*entry](c, call, uintptr(f))
	if err != nil {
		return err
	}
	if err := c.stream(call, cfg.Stream); err != nil {
		return err
	}
	if err := c.fits(e, cfg); err != nil {
		return err
	}
	c.launches++
	l := &launch{fn: e.fn, text: e.mod.text, cfg: cfg, opts: &c.opts, info: &c.info, mem: &c.mem, number: c.launches}
	l.params = make([]byte, alignUp(e.fn.paramBytes, 8))
	for i, p := range e.fn.params {
		put(l.params[p.addr:], uint64(p.bytes), cfg.Params[i])
	}
	l.sharedBytes = int(e.fn.openAt()) + cfg.Shared
	if c.opts.Races {
		l.races = &races{epoch: int64(c.launches), released: map[uint64]map[int32]uint32{}}
	}
	sum, fault := l.run()
	c.sum.add(&sum)
	if c.byKernel == nil {
		c.byKernel = map[string]*Counters{}
	}
	if c.byKernel[e.fn.name] == nil {
		c.byKernel[e.fn.name] = &Counters{}
	}
	c.byKernel[e.fn.name].add(&sum)
	if fault != nil {
		c.failed = &driver.Error{Call: call, Result: fault.Kind.result(), Detail: fault.Error(), Err: fault}
		return c.failed
	}
	return nil
}

// maxBlockBytes is what the registers and the local memory of a block may take of the host.
const maxBlockBytes = 1 << 30

// fits says what is wrong with a launch, as the driver would.
func (c *Context) fits(e *entry, cfg driver.Launch) error {
	const call = "cuLaunchKernel"
	fn, g, b := e.fn, cfg.Grid, cfg.Block
	bad := func(r driver.Result, format string, args ...any) error {
		return driver.Errorf(call, r, "%q: %s", fn.name, fmt.Sprintf(format, args...))
	}
	over := func(d, most driver.Dim) bool {
		return d.X < 1 || d.Y < 1 || d.Z < 1 || d.X > most.X || d.Y > most.Y || d.Z > most.Z
	}
	switch {
	case over(g, c.info.MaxGrid):
		return bad(driver.InvalidValue, "a grid of %s: from (1,1,1) to %s", dim(g), dim(c.info.MaxGrid))
	case over(b, c.info.MaxBlock):
		return bad(driver.InvalidValue, "a block of %s: from (1,1,1) to %s", dim(b), dim(c.info.MaxBlock))
	case b.Count() > c.info.MaxThreadsPerBlock:
		return bad(driver.InvalidValue, "a block of %d threads: at most %d", b.Count(), c.info.MaxThreadsPerBlock)
	case uint64(g.X)*uint64(g.Y) > 1<<31-1 || uint64(g.X)*uint64(g.Y)*uint64(g.Z) > 1<<31-1:
		return bad(driver.InvalidValue, "a grid of %s is more than the emulator numbers", dim(g))
	case len(cfg.Params) != len(fn.params):
		return bad(driver.InvalidValue, "%d parameters, it takes %d", len(cfg.Params), len(fn.params))
	case cfg.Shared < 0 || cfg.Shared > e.maxDynamic:
		return bad(driver.InvalidValue, "%d bytes of dynamic shared memory: at most %d, until SetMaxDynamicShared allows more", cfg.Shared, e.maxDynamic)
	case int(fn.sharedSize)+cfg.Shared > c.info.SharedPerBlockOptin:
		return bad(driver.InvalidValue, "%d bytes of shared memory: at most %d", int(fn.sharedSize)+cfg.Shared, c.info.SharedPerBlockOptin)
	}
	if d := fn.reqThreads; d[0] != 0 && b != (driver.Dim{X: d[0], Y: d[1], Z: d[2]}) {
		return bad(driver.InvalidValue, "a block of %s: .reqntid says (%d,%d,%d)", dim(b), d[0], d[1], d[2])
	}
	if d := fn.maxThreads; d[0] != 0 && b.Count() > d[0]*d[1]*d[2] {
		return bad(driver.InvalidValue, "a block of %d threads: .maxntid says %d", b.Count(), d[0]*d[1]*d[2])
	}
	if n := alignUp(int64(b.Count()), 32) * int64(fn.pressure); n > int64(c.info.RegistersPerBlock) && fn.maxThreads[0] == 0 && fn.reqThreads[0] == 0 {
		return bad(driver.LaunchOutOfResources, "%d threads of about %d registers: a block has %d; declare .maxntid", b.Count(), fn.pressure, c.info.RegistersPerBlock)
	}
	if threads := alignUp(int64(b.Count()), 32); threads*(8*int64(fn.slots)+2*fn.localSize) > maxBlockBytes {
		return bad(driver.LaunchOutOfResources, "the emulation of a block of %d threads takes more than %d bytes: %d registers and %d bytes of local memory a thread",
			threads, int64(maxBlockBytes), fn.slots, fn.localSize)
	}
	for i, p := range fn.params {
		if p.bytes > 8 {
			return bad(driver.InvalidValue, "parameter %d (%s) takes %d bytes: at most 8", i, p.name, p.bytes)
		}
	}
	return nil
}
