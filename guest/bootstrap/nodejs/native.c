// What the bootstrap needs and JavaScript cannot do: a Node-API addon, compiled when the image is built (image.sh),
// without anybody's headers. C++ functions of V8 are declared by the names that the linker knows them by.

typedef void* Opaque;

int napi_create_function(Opaque env, const char* name, unsigned long length, Opaque (*function)(Opaque, Opaque),
                         void* data, Opaque* result);
int napi_get_boolean(Opaque env, _Bool value, Opaque* result);
int napi_set_named_property(Opaque env, Opaque object, const char* name, Opaque value);
int RAND_poll(void);
int malloc_trim(unsigned long pad);
Opaque _ZN2v87Isolate10GetCurrentEv(void);                  // v8::Isolate::GetCurrent()
void _ZN2v87Isolate21LowMemoryNotificationEv(Opaque self);  // v8::Isolate::LowMemoryNotification()

// Gives OpenSSL's random generator new entropy from the kernel; returns whether that has worked. OpenSSL itself takes a
// restored microVM for the process that it was: all would make the same keys, UUIDs and TLS secrets. The generators of
// other threads notice that the one they are fed from was reseeded.
static Opaque ReseedOpenssl(Opaque env, Opaque info) {
  Opaque result = 0;
  (void)info;
  napi_get_boolean(env, RAND_poll() == 1, &result);
  return result;
}

// Collects all garbage and gives back to the kernel what the heaps do not need, the halves of V8's young generation
// among it, which globalThis.gc() keeps.
static Opaque SettleHeap(Opaque env, Opaque info) {
  (void)env;
  (void)info;
  _ZN2v87Isolate21LowMemoryNotificationEv(_ZN2v87Isolate10GetCurrentEv());
  malloc_trim(0);
  return 0;
}

static void Export(Opaque env, Opaque exports, const char* name, Opaque (*function)(Opaque, Opaque)) {
  const unsigned long kUntilNul = -1;
  Opaque value = 0;
  napi_create_function(env, name, kUntilNul, function, 0, &value);
  napi_set_named_property(env, exports, name, value);
}

Opaque napi_register_module_v1(Opaque env, Opaque exports) {
  Export(env, exports, "reseedOpenssl", ReseedOpenssl);
  Export(env, exports, "settleHeap", SettleHeap);
  return exports;
}
