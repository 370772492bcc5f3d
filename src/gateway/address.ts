import { isIPv4, isIPv6 } from 'node:net'

const UNKNOWN = new Uint8Array(4)

/** 4 or 16 bytes of a client's address; IPv4 in IPv6 clothing (`::ffff:1.2.3.4`) is IPv4. Anything else: four zeros. */
export function addressBytes(text: string): Uint8Array {
  const address = text.replace(/%.*$/, '')
  if (isIPv4(address)) return quad(address)
  if (!isIPv6(address)) return UNKNOWN
  const bytes = ipv6(address)
  return bytes.subarray(0, 10).every((byte) => byte === 0) && bytes[10] === 0xff && bytes[11] === 0xff ? bytes.slice(12) : bytes
}

function quad(text: string): Uint8Array {
  return Uint8Array.from(text.split('.'), Number)
}

function ipv6(address: string): Uint8Array {
  const [head = '', tail] = address.split('::')
  const left = groups(head)
  const right = tail === undefined ? [] : groups(tail)
  const zeros = tail === undefined ? 0 : 16 - left.length - right.length
  return Uint8Array.from([...left, ...Array<number>(zeros).fill(0), ...right])
}

function groups(text: string): number[] {
  if (text === '') return []
  return text.split(':').flatMap((group) => {
    if (group.includes('.')) return [...quad(group)]
    const value = Number.parseInt(group, 16)
    return [value >> 8, value & 0xff]
  })
}
