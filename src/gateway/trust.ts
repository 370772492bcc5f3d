/** Which peers may say whom they speak for (`X-Forwarded-*`). */
import { BlockList, isIP, isIPv6 } from 'node:net'

export interface Trust {
  /** May this peer of the gateway say so? */
  peer(address: string): boolean
  /** Is this address in a peer's list a proxy too, so that the visitor's lies before it? */
  hop(address: string): boolean
}

const NOBODY: Trust = { peer: () => false, hop: () => false }
const WHOEVER_ASKS: Trust = { peer: () => true, hop: () => false }

/** `true`: the peer, whoever it is. A list: addresses and networks (`10.0.0.0/8`), checked by `isNetwork`. */
export function createTrust(setting: boolean | readonly string[]): Trust {
  if (setting === true) return WHOEVER_ASKS
  if (setting === false || setting.length === 0) return NOBODY
  const list = new BlockList()
  for (const text of setting) {
    const [address = '', bits] = text.split('/')
    const family = isIPv6(address) ? 'ipv6' : 'ipv4'
    if (bits === undefined) list.addAddress(address, family)
    else list.addSubnet(address, Number(bits), family)
  }
  const has = (text: string): boolean => {
    const address = plainAddress(text)
    const version = isIP(address)
    return version !== 0 && list.check(address, version === 6 ? 'ipv6' : 'ipv4')
  }
  return { peer: has, hop: has }
}

export function isNetwork(text: string): boolean {
  const [address = '', bits, more] = text.split('/')
  const version = isIP(address)
  if (version === 0 || more !== undefined) return false
  return bits === undefined || (/^\d{1,3}$/.test(bits) && Number(bits) <= (version === 6 ? 128 : 32))
}

const MAPPED = '::ffff:'

/** IPv4 in IPv6 clothing (`::ffff:1.2.3.4`) is IPv4. */
export function plainAddress(address: string): string {
  return address.startsWith(MAPPED) && address.includes('.') ? address.slice(MAPPED.length) : address
}
