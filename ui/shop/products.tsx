import type { JSX } from 'preact'

export interface Product {
  id: string
  name: string
  line: string
  /** In cents. */
  price: number
  tint: string
  picture: () => JSX.Element
}

/** Drawn here: a picture font may be missing on the machine. All on a 64 × 64 field. */
export const PRODUCTS: Product[] = [
  { id: 'lantern', name: 'Harbour lantern', line: 'Burns through any outage', price: 3900, tint: 'sand', picture: Lantern },
  { id: 'compass', name: 'Brass compass', line: 'Always finds the owner', price: 5400, tint: 'gold', picture: Compass },
  { id: 'rope', name: 'Kelp rope, 20 m', line: 'Holds in every storm', price: 1800, tint: 'kelp', picture: Rope },
  { id: 'mug', name: 'Deck mug', line: 'Keeps its state warm', price: 1400, tint: 'sky', picture: Mug },
  { id: 'shell', name: 'Listening shell', line: 'Hears every heartbeat', price: 900, tint: 'rose', picture: Shell },
  { id: 'anchor', name: 'Pocket anchor', line: 'Sticky by nature', price: 2200, tint: 'slate', picture: Anchor },
  { id: 'bottle', name: 'Message bottle', line: 'Delivered, sooner or later', price: 1100, tint: 'sea', picture: Bottle },
  { id: 'cookies', name: 'Ship’s biscuits', line: 'Signed, sealed, 4 KB each', price: 600, tint: 'sand', picture: Biscuit },
]

export function euros(cents: number): string {
  return `€${(cents / 100).toFixed(2)}`
}

function Lantern() {
  return (
    <g>
      <path d="M24 18a8 8 0 0 1 16 0" class="stroke" />
      <path d="M22 20h20l-3 6H25z" class="dark" />
      <path d="M25 26h14l3 22H22z" class="light" />
      <path d="M32 32c5 5 4 12 0 13c-4-1-5-8 0-13z" class="accent" />
      <path d="M20 48h24v5H20z" class="dark" />
    </g>
  )
}
function Compass() {
  return (
    <g>
      <circle cx="32" cy="33" r="20" class="dark" />
      <circle cx="32" cy="33" r="15" class="light" />
      <path d="M32 20l5 13h-10z" class="accent" />
      <path d="M32 46l5-13h-10z" class="mid" />
      <circle cx="32" cy="11" r="4" class="stroke" />
    </g>
  )
}
function Rope() {
  return (
    <g>
      <ellipse cx="32" cy="42" rx="20" ry="10" class="thick" />
      <ellipse cx="32" cy="34" rx="20" ry="10" class="thick mid-stroke" />
      <ellipse cx="32" cy="26" rx="20" ry="10" class="thick" />
    </g>
  )
}
function Mug() {
  return (
    <g>
      <path d="M40 28h6a7 7 0 0 1 0 14h-6" class="stroke" />
      <path d="M16 22h26v22a8 8 0 0 1-8 8H24a8 8 0 0 1-8-8z" class="accent" />
      <path d="M16 30h26v6H16z" class="light" />
      <path d="M23 16c-3-4 3-4 0-8M33 16c-3-4 3-4 0-8" class="stroke" />
    </g>
  )
}
function Shell() {
  return (
    <g>
      <path d="M32 52L12 30a20 18 0 0 1 40 0z" class="accent" />
      <path d="M32 52L22 15M32 52V12M32 52l10-37M32 52L14 24M32 52l18-28" class="fine" />
      <path d="M26 50h12v5H26z" class="dark" />
    </g>
  )
}
function Anchor() {
  return (
    <g>
      <circle cx="32" cy="15" r="5" class="stroke" />
      <path d="M32 20v34M22 28h20M14 38c1 10 8 16 18 16s17-6 18-16" class="stroke" />
      <path d="M9 41l5-8 6 7zM55 41l-5-8-6 7z" class="dark" />
    </g>
  )
}
function Bottle() {
  return (
    <g>
      <path d="M28 8h8v7h-8z" class="dark" />
      <path d="M28 15h8v7c8 4 9 8 9 14v14a5 5 0 0 1-5 5H24a5 5 0 0 1-5-5V36c0-6 1-10 9-14z" class="mid" />
      <path d="M25 34h14v14H25z" class="light" />
      <path d="M28 38h8M28 42h8" class="fine" />
    </g>
  )
}
function Biscuit() {
  return (
    <g>
      <circle cx="32" cy="33" r="20" class="mid" />
      <circle cx="32" cy="33" r="15" class="fine" />
      <circle cx="26" cy="28" r="2" class="dark" />
      <circle cx="38" cy="28" r="2" class="dark" />
      <circle cx="32" cy="34" r="2" class="dark" />
      <circle cx="26" cy="40" r="2" class="dark" />
      <circle cx="38" cy="40" r="2" class="dark" />
    </g>
  )
}
