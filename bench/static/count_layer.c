// A Vulkan layer that counts what is recorded, and prints it on standard error at every submit:
// `submit dispatches 1120 barriers 1029 transfer_barriers 240 copies 221 fills 3`. When a device is
// opened it prints `adapter NAME driver 25.0.7`.
//
// A barrier counts as one however many buffers it names; where a copy or a fill takes part it is a
// transfer barrier. Devices are counted together: it expects one thread, which submits what it has
// recorded for one before it records for another.

#include <stdio.h>
#include <string.h>
#include <vulkan/vk_layer.h>
#include <vulkan/vulkan.h>

static PFN_vkGetInstanceProcAddr next_instance_function;
static PFN_vkGetDeviceProcAddr next_device_function;
static VkInstance instance;
static PFN_vkCmdDispatch next_dispatch;
static PFN_vkCmdPipelineBarrier next_barrier;
static PFN_vkCmdCopyBuffer next_copy;
static PFN_vkCmdFillBuffer next_fill;
static PFN_vkQueueSubmit next_submit;

static struct { unsigned dispatches, barriers, transfer_barriers, copies, fills; } count;

static void VKAPI_CALL dispatch(VkCommandBuffer commands, uint32_t x, uint32_t y, uint32_t z) {
  count.dispatches++;
  next_dispatch(commands, x, y, z);
}

static void VKAPI_CALL barrier(VkCommandBuffer commands, VkPipelineStageFlags from,
                               VkPipelineStageFlags to, VkDependencyFlags flags, uint32_t memories,
                               const VkMemoryBarrier *memory, uint32_t buffers,
                               const VkBufferMemoryBarrier *buffer, uint32_t images,
                               const VkImageMemoryBarrier *image) {
  const VkPipelineStageFlags compute = VK_PIPELINE_STAGE_COMPUTE_SHADER_BIT;
  if (from & compute && to & compute) count.barriers++;
  else count.transfer_barriers++;
  next_barrier(commands, from, to, flags, memories, memory, buffers, buffer, images, image);
}

static void VKAPI_CALL copy(VkCommandBuffer commands, VkBuffer from, VkBuffer to, uint32_t regions,
                            const VkBufferCopy *region) {
  count.copies++;
  next_copy(commands, from, to, regions, region);
}

static void VKAPI_CALL fill(VkCommandBuffer commands, VkBuffer buffer, VkDeviceSize offset,
                            VkDeviceSize size, uint32_t value) {
  count.fills++;
  next_fill(commands, buffer, offset, size, value);
}

static VkResult VKAPI_CALL submit(VkQueue queue, uint32_t submits, const VkSubmitInfo *info,
                                  VkFence fence) {
  fprintf(stderr, "submit dispatches %u barriers %u transfer_barriers %u copies %u fills %u\n",
          count.dispatches, count.barriers, count.transfer_barriers, count.copies, count.fills);
  memset(&count, 0, sizeof count);
  return next_submit(queue, submits, info, fence);
}

/** The loader's link to the layer or driver below, in a chain of structs that both calls take. */
#define LINK(Type, structure, info)                                       \
  Type *link = (Type *)(info)->pNext;                                     \
  while (link && !(link->sType == structure && link->function == VK_LAYER_LINK_INFO)) \
    link = (Type *)link->pNext;                                           \
  if (!link) return VK_ERROR_INITIALIZATION_FAILED;

static VkResult VKAPI_CALL create_instance(const VkInstanceCreateInfo *info,
                                           const VkAllocationCallbacks *allocator,
                                           VkInstance *created) {
  LINK(VkLayerInstanceCreateInfo, VK_STRUCTURE_TYPE_LOADER_INSTANCE_CREATE_INFO, info)
  next_instance_function = link->u.pLayerInfo->pfnNextGetInstanceProcAddr;
  link->u.pLayerInfo = link->u.pLayerInfo->pNext;
  PFN_vkCreateInstance create =
      (PFN_vkCreateInstance)next_instance_function(VK_NULL_HANDLE, "vkCreateInstance");
  const VkResult result = create(info, allocator, created);
  if (result == VK_SUCCESS) instance = *created;
  return result;
}

static void print_adapter(VkPhysicalDevice adapter) {
  PFN_vkGetPhysicalDeviceProperties get = (PFN_vkGetPhysicalDeviceProperties)
      next_instance_function(instance, "vkGetPhysicalDeviceProperties");
  VkPhysicalDeviceProperties properties;
  get(adapter, &properties);
  const uint32_t version = properties.driverVersion;
  fprintf(stderr, "adapter %s driver %u.%u.%u\n", properties.deviceName,
          VK_API_VERSION_MAJOR(version), VK_API_VERSION_MINOR(version),
          VK_API_VERSION_PATCH(version));
}

static VkResult VKAPI_CALL create_device(VkPhysicalDevice adapter, const VkDeviceCreateInfo *info,
                                         const VkAllocationCallbacks *allocator,
                                         VkDevice *created) {
  LINK(VkLayerDeviceCreateInfo, VK_STRUCTURE_TYPE_LOADER_DEVICE_CREATE_INFO, info)
  next_device_function = link->u.pLayerInfo->pfnNextGetDeviceProcAddr;
  PFN_vkCreateDevice create = (PFN_vkCreateDevice)
      link->u.pLayerInfo->pfnNextGetInstanceProcAddr(instance, "vkCreateDevice");
  link->u.pLayerInfo = link->u.pLayerInfo->pNext;
  const VkResult result = create(adapter, info, allocator, created);
  if (result != VK_SUCCESS) return result;
  print_adapter(adapter);
#define NEXT(Type, name) (Type) next_device_function(*created, name)
  next_dispatch = NEXT(PFN_vkCmdDispatch, "vkCmdDispatch");
  next_barrier = NEXT(PFN_vkCmdPipelineBarrier, "vkCmdPipelineBarrier");
  next_copy = NEXT(PFN_vkCmdCopyBuffer, "vkCmdCopyBuffer");
  next_fill = NEXT(PFN_vkCmdFillBuffer, "vkCmdFillBuffer");
  next_submit = NEXT(PFN_vkQueueSubmit, "vkQueueSubmit");
  return result;
}

static PFN_vkVoidFunction VKAPI_CALL device_function(VkDevice device, const char *name);
static PFN_vkVoidFunction VKAPI_CALL instance_function(VkInstance of, const char *name);

/** What the layer puts in the place of a function; null for the others. */
static PFN_vkVoidFunction own_function(const char *name) {
#define OWN(vulkan, own) if (!strcmp(name, vulkan)) return (PFN_vkVoidFunction)own;
  OWN("vkGetInstanceProcAddr", instance_function)
  OWN("vkGetDeviceProcAddr", device_function)
  OWN("vkCreateInstance", create_instance)
  OWN("vkCreateDevice", create_device)
  OWN("vkCmdDispatch", dispatch)
  OWN("vkCmdPipelineBarrier", barrier)
  OWN("vkCmdCopyBuffer", copy)
  OWN("vkCmdFillBuffer", fill)
  OWN("vkQueueSubmit", submit)
  return NULL;
}

static PFN_vkVoidFunction VKAPI_CALL device_function(VkDevice device, const char *name) {
  PFN_vkVoidFunction own = own_function(name);
  return own ? own : next_device_function(device, name);
}

static PFN_vkVoidFunction VKAPI_CALL instance_function(VkInstance of, const char *name) {
  PFN_vkVoidFunction own = own_function(name);
  return own || !next_instance_function ? own : next_instance_function(of, name);
}

VK_LAYER_EXPORT VkResult VKAPI_CALL
vkNegotiateLoaderLayerInterfaceVersion(VkNegotiateLayerInterface *interface) {
  interface->loaderLayerInterfaceVersion = 2;
  interface->pfnGetInstanceProcAddr = instance_function;
  interface->pfnGetDeviceProcAddr = device_function;
  interface->pfnGetPhysicalDeviceProcAddr = NULL;
  return VK_SUCCESS;
}
