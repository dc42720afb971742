//! Pictures by way of their coefficients: taken apart and put together again where the decoder does not take
//! a file as it is. Nothing is lost on that way; it costs memory and time, and few files need it.

use libjpeg_turbo_rs::{
    JpegCoefficients, PixelFormat, read_coefficients, write_coefficients_optimized,
};

use super::decoder::run_decoder;
use super::outline::{DQT, EOI, Frame, Outline, SOI, SOS, Segments};
use super::problem::{corrupt, problem};
use crate::error::PhotoProblem;
use crate::picture::zeroed;

const DHT: u8 = 0xc4;
const DRI: u8 = 0xdd;
const APP0: u8 = 0xe0;
const APP14: u8 = 0xee;

/// A plain file of these coefficients.
pub(super) fn written(whole: &JpegCoefficients) -> Result<Vec<u8>, PhotoProblem> {
    write_coefficients_optimized(whole).map_err(problem)
}

/// The coefficients of a sequential Huffman file whose scans hold some of several components: each scan is
/// read as a file of its own that has no other components.
pub(super) fn joined(bytes: &[u8], frame: &Frame) -> Result<JpegCoefficients, PhotoProblem> {
    let (across, down) = frame.finest();
    let side = |pixels: u16, finest: u8| usize::from(pixels).div_ceil(8 * usize::from(finest));
    let (units_x, units_y) = (side(frame.width, across), side(frame.height, down));
    let mut whole: Option<JpegCoefficients> = None;
    let mut tables = vec![0xff, SOI];
    let mut segments = Segments::new(bytes);
    loop {
        let segment = segments.next()?;
        let stored = &bytes[segment.start..segment.end];
        match segment.code {
            EOI => break,
            DQT | DHT | DRI | APP0 | APP14 => tables.extend(stored),
            SOS => {
                let listed = scanned(&bytes[segment.body], frame)?;
                let size = if let &[only] = &listed[..] {
                    let component = &frame.components[only];
                    let samples = |pixels: u16, factor: u8, finest: u8| {
                        (usize::from(pixels) * usize::from(factor)).div_ceil(usize::from(finest))
                    };
                    (
                        samples(frame.width, component.across, across),
                        samples(frame.height, component.down, down),
                    )
                } else {
                    let components = listed.iter().map(|&c| &frame.components[c]);
                    let across = components.clone().map(|c| c.across).max().unwrap_or(1);
                    let down = components.map(|c| c.down).max().unwrap_or(1);
                    (
                        units_x * 8 * usize::from(across),
                        units_y * 8 * usize::from(down),
                    )
                };
                let mut file = tables.clone();
                file.extend(header(frame, &listed, size)?);
                file.extend(stored);
                file.extend([0xff, EOI]);
                let part = read_coefficients(&file).map_err(problem)?;
                let whole = match &mut whole {
                    Some(whole) => whole,
                    None => whole.insert(empty(&part, frame, (units_x, units_y))?),
                };
                for (&number, part_of) in listed.iter().zip(&part.components) {
                    let component = &mut whole.components[number];
                    let width = component.blocks_x.min(part_of.blocks_x);
                    let to = component.blocks.chunks_exact_mut(component.blocks_x);
                    for (to, from) in to.zip(part_of.blocks.chunks_exact(part_of.blocks_x)) {
                        to[..width].copy_from_slice(&from[..width]);
                    }
                    let table = usize::from(part_of.quant_table_index);
                    whole.quant_tables[number] = *part
                        .quant_tables
                        .get(table)
                        .ok_or_else(|| corrupt("a quantisation table is missing"))?;
                }
            }
            _ => {}
        }
    }
    whole.ok_or_else(|| corrupt("no scan"))
}

/// Which components of the frame a scan holds, in its order.
fn scanned(body: &[u8], frame: &Frame) -> Result<Vec<usize>, PhotoProblem> {
    let (&count, rest) = body.split_first().ok_or_else(|| corrupt("an empty scan"))?;
    let entries = rest.chunks_exact(2).take(usize::from(count));
    let place = |id: u8| frame.components.iter().position(|c| c.id == id);
    let listed: Option<Vec<_>> = entries.map(|entry| place(entry[0])).collect();
    match listed {
        Some(listed) if !listed.is_empty() => Ok(listed),
        _ => Err(corrupt("a scan of no component")),
    }
}

/// The header of a frame with these components alone.
fn header(frame: &Frame, listed: &[usize], size: (usize, usize)) -> Result<Vec<u8>, PhotoProblem> {
    let side = |side: usize| u16::try_from(side).map_err(|_| corrupt("a side is too long"));
    let mut header = vec![0xff, 0xc1];
    header.extend((8 + 3 * listed.len() as u16).to_be_bytes());
    header.push(8);
    header.extend(side(size.1)?.to_be_bytes());
    header.extend(side(size.0)?.to_be_bytes());
    header.push(listed.len() as u8);
    for &number in listed {
        let component = &frame.components[number];
        let factors = match listed {
            [_] => 0x11,
            _ => component.across << 4 | component.down,
        };
        header.extend([component.id, factors, component.slot]);
    }
    Ok(header)
}

/// A picture of the whole frame in which nothing stands yet, with a table for each component.
fn empty(
    part: &JpegCoefficients,
    frame: &Frame,
    (units_x, units_y): (usize, usize),
) -> Result<JpegCoefficients, PhotoProblem> {
    let mut whole = JpegCoefficients {
        width: frame.width,
        height: frame.height,
        components: Vec::new(),
        quant_tables: vec![[1; 64]; frame.components.len()],
        restart_interval: 0,
        ..part.clone()
    };
    let sample = part
        .components
        .first()
        .ok_or_else(|| corrupt("no component"))?;
    for (number, listed) in frame.components.iter().enumerate() {
        let mut component = sample.clone();
        component.blocks_x = units_x * usize::from(listed.across);
        component.blocks_y = units_y * usize::from(listed.down);
        let count = component.blocks_x * component.blocks_y;
        component.blocks = Vec::new();
        component
            .blocks
            .try_reserve_exact(count)
            .map_err(|_| PhotoProblem::OutOfMemory)?;
        component.blocks.resize(count, [0; 64]);
        component.h_sampling = listed.across;
        component.v_sampling = listed.down;
        component.quant_table_index = number as u8;
        component.component_id = listed.id;
        whole.components.push(component);
    }
    Ok(whole)
}

/// The inks of a picture of four components whose black is stored coarser than the finest of the others:
/// the decoder only brings three components to one size, so it is run twice, with black as the last of three.
pub(super) fn inks(
    bytes: &[u8],
    outline: &Outline,
    pixels: usize,
) -> Result<Vec<u8>, PhotoProblem> {
    let mut whole = if outline.is_split {
        joined(bytes, outline.frame()?)?
    } else {
        read_coefficients(bytes).map_err(problem)?
    };
    if whole.components.len() != 4 {
        return Err(corrupt("four components announced"));
    }
    // As libjpeg sorts them: CMYK without Adobe's marker or with its 0, otherwise YCCK.
    let is_ycck = whole
        .adobe_transform
        .is_some_and(|transform| transform != 0);
    let black = whole.components.pop();
    whole.saw_jfif_marker = false;
    whole.adobe_transform = Some(u8::from(is_ycck));
    let colours = run_decoder(&written(&whole)?, PixelFormat::Rgb, pixels)?;
    whole.components.truncate(2);
    whole.components.extend(black);
    whole.adobe_transform = Some(0);
    let black = run_decoder(&written(&whole)?, PixelFormat::Rgb, pixels)?;
    let mut inks = zeroed(pixels * 4)?;
    let sources = colours.chunks_exact(3).zip(black.chunks_exact(3));
    for (ink, (colour, black)) in inks.chunks_exact_mut(4).zip(sources) {
        for (ink, &level) in ink.iter_mut().zip(colour) {
            *ink = if is_ycck { 255 - level } else { level };
        }
        ink[3] = black[2];
    }
    Ok(inks)
}
