/*
 * Rust's standard library takes random bytes from ProcessPrng of this library, which Wine 8 does
 * not have. ci/windows builds it for the tests; no program is shipped with it.
 */
#include <windows.h>

BOOLEAN NTAPI SystemFunction036(PVOID data, ULONG length);

__declspec(dllexport) BOOL WINAPI ProcessPrng(PBYTE data, SIZE_T length)
{
    return SystemFunction036(data, (ULONG)length);
}
