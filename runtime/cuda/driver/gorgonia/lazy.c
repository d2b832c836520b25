//go:build cu

// The functions of the CUDA driver, each of which looks for the driver's own when it is first called. So
// the binary does not need the library to start, and finds it when it is there. PITOPT_LIBCUDA names another one.

#include <dlfcn.h>
#include <stdlib.h>

#include <cuda.h>

static void *library;
static CUresult started = CUDA_ERROR_NOT_INITIALIZED;
static char problem[512];

/* find gives a function of the library, or nothing: then the driver did not start. */
static void *find(const char *name) { return started == CUDA_SUCCESS ? dlsym(library, name) : 0; }

/* cuInit always succeeds, for gorgonia.org/cu ends the process where it does not: what comes after it tells. */
CUresult cuInit(unsigned int flags) {
	CUresult (*f)(unsigned int);
	const char *name = getenv("PITOPT_LIBCUDA"), *why;
	if (library) return CUDA_SUCCESS;
	library = dlopen(name && *name ? name : "libcuda.so.1", RTLD_NOW | RTLD_LOCAL);
	if (!library) {
		size_t i = 0;
		for (why = dlerror(); why && why[i] && i + 1 < sizeof problem; i++) problem[i] = why[i];
		started = CUDA_ERROR_NO_DEVICE;
		return CUDA_SUCCESS;
	}
	f = (CUresult(*)(unsigned int))dlsym(library, "cuInit");
	started = f ? f(flags) : CUDA_ERROR_NOT_FOUND;
	return CUDA_SUCCESS;
}

/* pitopt_cu_started says how the driver started, and why it was not found. */
CUresult pitopt_cu_started(const char **why) {
	*why = problem;
	return started;
}

#define F0(NAME) \
	CUresult NAME(void) { \
		static CUresult (*p)(void); \
		if (!p) p = (CUresult(*)(void))find(#NAME); \
		return p ? p() : started ? started : CUDA_ERROR_NOT_FOUND; \
	}
#define F1(NAME, A) \
	CUresult NAME(A a) { \
		static CUresult (*p)(A); \
		if (!p) p = (CUresult(*)(A))find(#NAME); \
		return p ? p(a) : started ? started : CUDA_ERROR_NOT_FOUND; \
	}
#define F2(NAME, A, B) \
	CUresult NAME(A a, B b) { \
		static CUresult (*p)(A, B); \
		if (!p) p = (CUresult(*)(A, B))find(#NAME); \
		return p ? p(a, b) : started ? started : CUDA_ERROR_NOT_FOUND; \
	}
#define F3(NAME, A, B, C) \
	CUresult NAME(A a, B b, C c) { \
		static CUresult (*p)(A, B, C); \
		if (!p) p = (CUresult(*)(A, B, C))find(#NAME); \
		return p ? p(a, b, c) : started ? started : CUDA_ERROR_NOT_FOUND; \
	}
#define F4(NAME, A, B, C, D) \
	CUresult NAME(A a, B b, C c, D d) { \
		static CUresult (*p)(A, B, C, D); \
		if (!p) p = (CUresult(*)(A, B, C, D))find(#NAME); \
		return p ? p(a, b, c, d) : started ? started : CUDA_ERROR_NOT_FOUND; \
	}
#define F5(NAME, A, B, C, D, E) \
	CUresult NAME(A a, B b, C c, D d, E e) { \
		static CUresult (*p)(A, B, C, D, E); \
		if (!p) p = (CUresult(*)(A, B, C, D, E))find(#NAME); \
		return p ? p(a, b, c, d, e) : started ? started : CUDA_ERROR_NOT_FOUND; \
	}
#define F6(NAME, A, B, C, D, E, F) \
	CUresult NAME(A a, B b, C c, D d, E e, F f) { \
		static CUresult (*p)(A, B, C, D, E, F); \
		if (!p) p = (CUresult(*)(A, B, C, D, E, F))find(#NAME); \
		return p ? p(a, b, c, d, e, f) : started ? started : CUDA_ERROR_NOT_FOUND; \
	}
#define F8(NAME, A, B, C, D, E, F, G, H) \
	CUresult NAME(A a, B b, C c, D d, E e, F f, G g, H h) { \
		static CUresult (*p)(A, B, C, D, E, F, G, H); \
		if (!p) p = (CUresult(*)(A, B, C, D, E, F, G, H))find(#NAME); \
		return p ? p(a, b, c, d, e, f, g, h) : started ? started : CUDA_ERROR_NOT_FOUND; \
	}
#define F11(NAME, A, B, C, D, E, F, G, H, I, J, K) \
	CUresult NAME(A a, B b, C c, D d, E e, F f, G g, H h, I i, J j, K k) { \
		static CUresult (*p)(A, B, C, D, E, F, G, H, I, J, K); \
		if (!p) p = (CUresult(*)(A, B, C, D, E, F, G, H, I, J, K))find(#NAME); \
		return p ? p(a, b, c, d, e, f, g, h, i, j, k) : started ? started : CUDA_ERROR_NOT_FOUND; \
	}
#include "functions.h"
