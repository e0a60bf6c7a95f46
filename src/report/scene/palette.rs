//! The colours behind the inks. Algorithms: Okabe and Ito, "Color Universal
//! Design" (2008), told apart by people with any kind of colour vision
//! (its black is left to the limit, its yellow is too faint for a line); heat:
//! cividis (Nuñez, Anderton, Renslow 2018), whose lightness rises evenly.

use super::{HEATS, Ink, SERIES};

const LIGHT: [u32; SERIES] = [
    0x00_72_B2, 0xD5_5E_00, 0x00_9E_73, 0xCC_79_A7, 0xE6_9F_00, 0x56_B4_E9,
];
/// The same hues, lifted until they stand out from dark paper.
const DARK: [u32; SERIES] = [
    0x4A_A3_DF, 0xFF_84_3D, 0x2F_C0_95, 0xE3_9F_C6, 0xF2_B8_3F, 0x9C_D6_F7,
];
const HEAT: [u32; HEATS] = [
    0xFD_EA_45, 0xE2_CB_5C, 0xBB_AF_71, 0x9A_94_78, 0x7F_7C_75, 0x62_64_6F, 0x3C_4D_6E, 0x11_36_6C,
    0x00_20_51,
];
/// The first step whose words are light.
const HEAT_TURNS: usize = 5;

/// The colour on white paper, as 0xRRGGBB.
pub(super) fn light(ink: Ink) -> u32 {
    match ink {
        Ink::Paper => 0xFF_FF_FF,
        Ink::Text => 0x1A_1A_1A,
        Ink::Muted => 0x55_5B_61,
        Ink::Axis => 0x80_86_8C,
        Ink::Grid => 0xE3_E6_E8,
        Ink::Shade => 0xC9_CE_D2,
        Ink::Limit => 0x00_00_00,
        Ink::Bad => 0xB0_00_20,
        Ink::Series(n) => LIGHT[n % SERIES],
        Ink::Heat(n) => HEAT[n.min(HEATS - 1)],
        Ink::OnHeat(n) => on_heat(n),
    }
}

/// The colour on dark paper, as 0xRRGGBB.
pub(super) fn dark(ink: Ink) -> u32 {
    match ink {
        Ink::Paper => 0x16_1A_1E,
        Ink::Text => 0xEE_F0_F2,
        Ink::Muted => 0xA9_B1_B8,
        Ink::Axis => 0x7C_85_8D,
        Ink::Grid => 0x2B_31_37,
        Ink::Shade => 0x45_4D_55,
        Ink::Limit => 0xFF_FF_FF,
        Ink::Bad => 0xFF_8A_80,
        Ink::Series(n) => DARK[n % SERIES],
        Ink::Heat(n) => HEAT[n.min(HEATS - 1)],
        Ink::OnHeat(n) => on_heat(n),
    }
}

const fn on_heat(step: usize) -> u32 {
    if step < HEAT_TURNS {
        0x1A_1A_1A
    } else {
        0xFF_FF_FF
    }
}
