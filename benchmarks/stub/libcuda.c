/* As much of libcuda.so.1 as Triton 3.6 to 3.9 call. It has one GPU, whose kernels do nothing; launches are counted. */

#include <stddef.h>
#include <stdint.h>

typedef int Result;
enum { SUCCESS = 0 };

/* CUdevice_attribute, for those that Triton asks about; the rest is 1. The values are an H100's. */
enum {
    WARP_SIZE = 10,
    REGISTERS_PER_BLOCK = 12,
    MULTIPROCESSORS = 16,
    SHARED_MEMORY_PER_MULTIPROCESSOR = 81,
    SHARED_MEMORY_PER_BLOCK = 97,
};

/* CUfunction_attribute */
enum { THREADS_PER_BLOCK = 0, REGISTERS = 4 };

static long launches = 0;
static char something; /* what handles point to */

long stub_launches(void) { return launches; }

Result cuInit(unsigned flags) { return SUCCESS; }
Result cuDriverGetVersion(int *version) { *version = 13000; return SUCCESS; }
Result cuGetErrorString(Result error, const char **text) { *text = "the stub knows no errors"; return SUCCESS; }

Result cuDeviceGet(int *device, int ordinal) { *device = ordinal; return SUCCESS; }
Result cuDeviceGetCount(int *count) { *count = 1; return SUCCESS; }
Result cuDeviceGetAttribute(int *value, int attribute, int device) {
    switch (attribute) {
        case WARP_SIZE: *value = 32; break;
        case REGISTERS_PER_BLOCK: *value = 65536; break;
        case MULTIPROCESSORS: *value = 132; break;
        case SHARED_MEMORY_PER_MULTIPROCESSOR: *value = 233472; break;
        case SHARED_MEMORY_PER_BLOCK: *value = 232448; break;
        default: *value = 1;
    }
    return SUCCESS;
}

Result cuCtxGetCurrent(void **context) { *context = &something; return SUCCESS; }
Result cuCtxSetCurrent(void *context) { return SUCCESS; }
Result cuCtxGetDevice(int *device) { *device = 0; return SUCCESS; }
Result cuCtxGetLimit(size_t *value, int limit) { *value = 0; return SUCCESS; }
Result cuCtxSetLimit(int limit, size_t value) { return SUCCESS; }
Result cuDevicePrimaryCtxRetain(void **context, int device) { *context = &something; return SUCCESS; }

Result cuModuleLoadData(void **module, const void *image) { *module = &something; return SUCCESS; }
Result cuModuleUnload(void *module) { return SUCCESS; }
Result cuModuleGetFunction(void **function, void *module, const char *name) { *function = &something; return SUCCESS; }
Result cuFuncGetAttribute(int *value, int attribute, void *function) {
    *value = attribute == THREADS_PER_BLOCK ? 1024 : attribute == REGISTERS ? 32 : 0;
    return SUCCESS;
}
Result cuFuncSetAttribute(void *function, int attribute, int value) { return SUCCESS; }
Result cuFuncSetCacheConfig(void *function, int config) { return SUCCESS; }
Result cuOccupancyMaxActiveClusters(int *clusters, void *function, const void *config) { *clusters = 1; return SUCCESS; }

/* Every address is one of the GPU's. */
Result cuPointerGetAttribute(void *value, int attribute, uint64_t address) { *(uint64_t *)value = address; return SUCCESS; }
Result cuStreamIsCapturing(void *stream, int *status) { *status = 0; return SUCCESS; }
Result cuTensorMapEncodeTiled(void) { return SUCCESS; }
Result cuTensorMapEncodeIm2col(void) { return SUCCESS; }

Result cuLaunchKernelEx(const void *config, void *function, void **arguments, void **extra) { launches++; return SUCCESS; }
