const UNITS = ['B', 'KB', 'MB', 'GB']

/** 812 B, 1.4 KB, 63 MB. */
export function bytes(value: number): string {
  let unit = 0
  let rest = value
  while (rest >= 1000 && unit < UNITS.length - 1) {
    rest /= 1000
    unit += 1
  }
  return `${unit === 0 || rest >= 10 ? Math.round(rest) : rest.toFixed(1)} ${UNITS[unit]}`
}

export function clock(at: number): string {
  return new Date(at).toLocaleTimeString([], { hour12: false })
}
