// Preloaded before Mesa's drm-shim, makes its vega10 a vega20, which it has no description of.
//
// A driver tells the chips of a family apart by the revision that the kernel reports. Both are
// GCN 5; sizes that stay those of a vega10 do not enter a compilation.

#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdarg.h>
#include <stdint.h>
#include <sys/ioctl.h>

/** The kernel's drm_amdgpu_info: a question, and where its answer goes. */
struct question {
  uint64_t answer;
  uint32_t answer_size;
  uint32_t subject;
  uint64_t details[2];
};

/** How the answer to DEVICE_INFO begins. */
struct device_info {
  uint32_t device_id;
  uint32_t chip_revision;
  uint32_t external_revision;
};

enum { DEVICE_INFO = 0x16, VEGA20_DEVICE = 0x66a1, VEGA20_REVISION = 0x28 };
#define ASK _IOW('d', 0x45, struct question)

int ioctl(int file, unsigned long request, ...) {
  static int (*next)(int, unsigned long, void *);
  if (!next) next = (int (*)(int, unsigned long, void *))dlsym(RTLD_NEXT, "ioctl");
  va_list rest;
  va_start(rest, request);
  void *argument = va_arg(rest, void *);
  va_end(rest);
  const int result = next(file, request, argument);
  const struct question *question = argument;
  if (result == 0 && request == ASK && question->subject == DEVICE_INFO &&
      question->answer_size >= sizeof(struct device_info)) {
    struct device_info *info = (struct device_info *)(uintptr_t)question->answer;
    info->device_id = VEGA20_DEVICE;
    info->external_revision = VEGA20_REVISION;
  }
  return result;
}
