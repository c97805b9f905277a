// A libcuda.so without a GPU: what the CUDA backend uses of the driver API, with kernels run by the emulator.
//
// Work on a stream is queued, as on a GPU, and runs as early or as late as the order of streams and events allows:
// with FAKE_CUDA=early copies run at once and kernels wait to be forced, with FAKE_CUDA=late it is the other way
// round. Both must give the same results, or an event is missing. Other variables make it an unfit machine:
// FAKE_CUDA_VERSION, FAKE_CUDA_DEVICES, FAKE_CUDA_CAPABILITY, FAKE_CUDA_MEMORY.
#include "kernels.cpp"

#include <deque>
#include <functional>
#include <mutex>

namespace {

enum { SUCCESS = 0, INVALID = 1, OUT_OF_MEMORY = 2, NO_DEVICE = 100, NOT_FOUND = 500 };
typedef unsigned long long Address;

long setting(const char* name, long otherwise) {
    const char* text = getenv(name);
    return text ? atol(text) : otherwise;
}
bool early() {
    const char* text = getenv("FAKE_CUDA");
    return !text || !strcmp(text, "early");
}

struct Stream;
struct Event {
    Stream* stream = nullptr;
    size_t number = 0;
};
struct Work {
    std::function<void()> run;
    // A wait for another stream's work up to a number, instead.
    Event until;
};
struct Stream {
    std::deque<Work> queue;
    // Work that was put in the queue, and that is done, since the beginning.
    size_t queued = 0, done = 0;

    void push(Work work) {
        queue.push_back(std::move(work));
        queued++;
    }
    // Runs work up to a number; without force only while no other stream must be run first.
    void run(size_t number, bool force) {
        while (done < number) {
            Work& next = queue.front();
            if (Stream* other = next.until.stream) {
                if (other->done < next.until.number && !force) return;
                other->run(next.until.number, force);
            } else {
                next.run();
            }
            queue.pop_front();
            done++;
        }
    }
};

std::recursive_mutex lock;
std::vector<Stream*> streams;
std::map<Address, size_t> memory;
size_t used = 0;
thread_local void* current = nullptr;
int context;

size_t capacity() { return setting("FAKE_CUDA_MEMORY", 8L << 30); }
void finish() {
    for (Stream* stream : streams) stream->run(stream->queued, true);
}
// Whether a range lies in one allocation.
bool inside(Address start, size_t bytes) {
    auto next = memory.upper_bound(start);
    if (next == memory.begin()) return false;
    auto found = std::prev(next);
    return start + bytes <= found->first + found->second;
}

} // namespace

#define API extern "C" __attribute__((visibility("default"))) int
#define LOCKED std::lock_guard<std::recursive_mutex> guard(lock)
#define NEEDS_CONTEXT \
    if (!current) return 201

API cuDriverGetVersion(int* version) {
    *version = setting("FAKE_CUDA_VERSION", 13000);
    return SUCCESS;
}
API cuInit(unsigned) { return setting("FAKE_CUDA_DEVICES", 1) < 0 ? NO_DEVICE : SUCCESS; }
API cuDeviceGetCount(int* count) {
    *count = setting("FAKE_CUDA_DEVICES", 1);
    return SUCCESS;
}
API cuDeviceGet(int* device, int ordinal) {
    *device = ordinal;
    return SUCCESS;
}
API cuDeviceGetName(char* name, int length, int) {
    snprintf(name, length, "Emulated GPU");
    return SUCCESS;
}
API cuDeviceTotalMem_v2(size_t* bytes, int) {
    *bytes = capacity();
    return SUCCESS;
}
API cuDeviceGetAttribute(int* value, int attribute, int) {
    int capability = setting("FAKE_CUDA_CAPABILITY", 90);
    if (attribute == 75) *value = capability / 10;
    else if (attribute == 76) *value = capability % 10;
    else *value = 1;
    return SUCCESS;
}
API cuDevicePrimaryCtxRetain(void** made, int) {
    *made = &context;
    return SUCCESS;
}
API cuDevicePrimaryCtxRelease_v2(int) {
    LOCKED;
    if (!streams.empty() || !memory.empty()) {
        fprintf(stderr, "fake CUDA: %zu streams and %zu allocations are left\n", streams.size(), memory.size());
        abort();
    }
    return SUCCESS;
}
API cuCtxSetCurrent(void* made) {
    current = made;
    return SUCCESS;
}
API cuCtxSynchronize() {
    NEEDS_CONTEXT;
    LOCKED;
    finish();
    return SUCCESS;
}
API cuModuleLoadData(void** module, const void* image) {
    NEEDS_CONTEXT;
    *module = &context;
    return memcmp(image, "fake", 4) ? INVALID : SUCCESS;
}
API cuModuleUnload(void*) { return SUCCESS; }
API cuModuleGetFunction(void** function, void*, const char* name) {
    NEEDS_CONTEXT;
    auto found = simt::kernels().find(name);
    if (found == simt::kernels().end()) return NOT_FOUND;
    *function = (void*)&*found;
    return SUCCESS;
}
API cuStreamCreate(void** stream, unsigned) {
    NEEDS_CONTEXT;
    LOCKED;
    streams.push_back(new Stream);
    *stream = streams.back();
    return SUCCESS;
}
API cuStreamDestroy_v2(void* stream) {
    LOCKED;
    for (size_t i = 0; i < streams.size(); i++)
        if (streams[i] == stream) streams.erase(streams.begin() + i);
    delete (Stream*)stream;
    return SUCCESS;
}
API cuStreamSynchronize(void* stream) {
    NEEDS_CONTEXT;
    LOCKED;
    ((Stream*)stream)->run(((Stream*)stream)->queued, true);
    return SUCCESS;
}
API cuEventCreate(void** event, unsigned) {
    *event = new Event;
    return SUCCESS;
}
API cuEventDestroy_v2(void* event) {
    delete (Event*)event;
    return SUCCESS;
}
API cuEventRecord(void* event, void* stream) {
    LOCKED;
    *(Event*)event = {(Stream*)stream, ((Stream*)stream)->queued};
    return SUCCESS;
}
API cuStreamWaitEvent(void* stream, void* event, unsigned) {
    LOCKED;
    if (((Event*)event)->stream) ((Stream*)stream)->push({nullptr, *(Event*)event});
    return SUCCESS;
}
API cuEventSynchronize(void* event) {
    LOCKED;
    Event e = *(Event*)event;
    if (e.stream) e.stream->run(e.number, true);
    return SUCCESS;
}
// Waits as the driver does, and takes a millisecond whatever there was to do.
API cuEventElapsedTime(float* milliseconds, void* first, void* second) {
    LOCKED;
    for (Event e : {*(Event*)first, *(Event*)second}) {
        if (!e.stream) return INVALID;
        if (e.stream->done < e.number) return 600;
    }
    *milliseconds = 1;
    return SUCCESS;
}
API cuMemAlloc_v2(Address* address, size_t bytes) {
    NEEDS_CONTEXT;
    LOCKED;
    if (used + bytes > capacity()) return OUT_OF_MEMORY;
    void* start = aligned_alloc(256, (bytes + 255) / 256 * 256);
    memset(start, 0xff, bytes);
    *address = (Address)start;
    memory[*address] = bytes;
    used += bytes;
    return SUCCESS;
}
API cuMemFree_v2(Address address) {
    NEEDS_CONTEXT;
    LOCKED;
    finish();
    auto found = memory.find(address);
    if (found == memory.end()) return INVALID;
    used -= found->second;
    memory.erase(found);
    free((void*)address);
    return SUCCESS;
}
API cuMemGetInfo_v2(size_t* left, size_t* total) {
    *total = capacity();
    *left = capacity() - used;
    return SUCCESS;
}
API cuMemHostAlloc(void** pointer, size_t bytes, unsigned) {
    *pointer = malloc(bytes);
    return SUCCESS;
}
API cuMemFreeHost(void* pointer) {
    free(pointer);
    return SUCCESS;
}
API cuMemsetD8Async(Address address, unsigned char value, size_t bytes, void* stream) {
    NEEDS_CONTEXT;
    LOCKED;
    if (!inside(address, bytes)) return INVALID;
    ((Stream*)stream)->push({[=] { memset((void*)address, value, bytes); }, {}});
    return SUCCESS;
}
API cuMemcpyHtoDAsync_v2(Address to, const void* from, size_t bytes, void* stream) {
    NEEDS_CONTEXT;
    LOCKED;
    if (!inside(to, bytes)) return INVALID;
    Stream* s = (Stream*)stream;
    s->push({[=] { memcpy((void*)to, from, bytes); }, {}});
    if (early()) s->run(s->queued, false);
    return SUCCESS;
}
API cuMemcpyDtoHAsync_v2(void* to, Address from, size_t bytes, void* stream) {
    NEEDS_CONTEXT;
    LOCKED;
    if (!inside(from, bytes)) return INVALID;
    ((Stream*)stream)->push({[=] { memcpy(to, (const void*)from, bytes); }, {}});
    return SUCCESS;
}
API cuLaunchKernel(void* function, unsigned x, unsigned y, unsigned z, unsigned threads, unsigned, unsigned, unsigned,
                   void* stream, void** arguments, void**) {
    NEEDS_CONTEXT;
    LOCKED;
    auto* kernel = (std::pair<const std::string, simt::Kernel>*)function;
    // The arguments are taken now, as the driver does.
    std::vector<std::vector<uint64_t>> values;
    for (size_t i = 0; i < kernel->second.sizes.size(); i++) {
        values.emplace_back((kernel->second.sizes[i] + 7) / 8);
        memcpy(values[i].data(), arguments[i], kernel->second.sizes[i]);
    }
    Stream* s = (Stream*)stream;
    s->push({[=] {
                 std::vector<const void*> pointers;
                 for (auto& value : values) pointers.push_back(value.data());
                 unsigned grid[3] = {x, y, z};
                 auto& sizes = kernel->second.sizes;
                 if (smore_launch(kernel->first.c_str(), grid, threads, (void**)pointers.data(), sizes.data(), sizes.size()))
                     abort();
             },
             {}});
    if (!early()) s->run(s->queued, false);
    return SUCCESS;
}
// For the fake cuBLAS: work that is ordered as a kernel is.
API fake_cuda_push(void* stream, void (*run)(void*), void* data) {
    LOCKED;
    Stream* s = (Stream*)stream;
    s->push({[=] { run(data); }, {}});
    if (!early()) s->run(s->queued, false);
    return SUCCESS;
}
API cuGetErrorName(int error, const char** text) {
    *text = error == OUT_OF_MEMORY ? "CUDA_ERROR_OUT_OF_MEMORY" : error == NO_DEVICE ? "CUDA_ERROR_NO_DEVICE" : "CUDA_ERROR";
    return SUCCESS;
}
API cuGetErrorString(int error, const char** text) {
    *text = error == NO_DEVICE ? "no CUDA-capable device is detected" : "an error of the fake driver";
    return SUCCESS;
}
